"""Steps replayed from a recording are the eager steps; what cannot be recorded is said once and runs eagerly."""

import logging
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from hyperconv.data.collection import Collection
from hyperconv.gan import graph
from hyperconv.gan.graph import Graphed, each, graphed, tensors
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer
from tests.gan.conftest import picture
from tests.gan.tape import GraphSafe, GraphUnsafe, TapeRecorder


class Pair(NamedTuple):
    first: Tensor
    rest: tuple[Tensor, ...]
    absent: Tensor | None = None


def recorded(trainer):
    """The trainer's step through a recorder; returns it."""

    def state():
        adam = [value for player in trainer.players for each_ in player.adam.state.values() for value in each_.values()]
        rates = [group["lr"] for player in trainer.players for group in player.adam.param_groups]
        return [*trainer.system.parameters(), *adam, *rates]

    recorder = TapeRecorder(state)
    trainer.compute = Graphed(trainer.compute.compute, recorder)
    return recorder


def steps(trainer, count):
    taken = []
    for _ in range(count):
        taken.append(trainer.take_step())
        trainer.step += 1
    return taken


@pytest.fixture
def trainers(tmp_path, config):
    """Two trainers of the same run at its second scale, photos of several shapes among them."""

    def make(**changes):
        photos = [picture(0, 48, 64), picture(1, 64, 40), picture(2, 50, 50), picture(3, 40, 64)]
        made = []
        for name in "ab":
            settings = replace(config, iterations=(12,), decay_at=0.5, **changes)
            collection = Collection(photos, settings.pyramid())
            made.append(Trainer(Run.create(tmp_path / name, settings, collection), collection))
        return made

    return make


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"embedding_trains": "every scale"},
        {"precision": "bf16"},
        {"clip": 1e-4},
        {"variants": 3, "variants_above": 2, "first_scale_sees": "embedding and thumbnail"},
    ],
    ids=["default", "embedding", "bf16", "clipped", "variants"],
)
@pytest.mark.parametrize("scale", [0, 1])
def test_replayed_steps_are_the_eager_ones_bit_for_bit(trainers, changes, scale):
    eager, replayed = trainers(**changes)
    for trainer in (eager, replayed):
        while trainer.scale < scale:
            trainer.scale += 1
            trainer.begin_scale()
    recorder = recorded(replayed)
    for one, other in zip(steps(eager, 12), steps(replayed, 12), strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value, other[name]), name
    assert recorder.recorded >= 1 and recorder.replayed >= 3
    for one, other in zip(eager.system.parameters(), replayed.system.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("system", ["consingan", "singan"])
@pytest.mark.parametrize("photos", [1, 3])
def test_steps_of_photos_side_by_side_are_replayed_bit_for_bit(tmp_path, system, photos):
    config = preset("tiny", system, max_size=32, min_size=14, scale_count=2, hidden=6, iterations=(8,), depth=4)
    collection = Collection([picture(i, 48, 64 - 20 * (i == 1)) for i in range(photos)], config.pyramid())
    eager, replayed = (Trainer(Run.create(tmp_path / name, config, collection), collection) for name in "ab")
    for trainer in (eager, replayed):
        trainer.scale = 1
        trainer.begin_scale()
    recorder = recorded(replayed)
    for one, other in zip(steps(eager, 5), steps(replayed, 5), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert recorder.recorded == 1 and recorder.replayed == 3
    inputs = eager.draws.step(5)
    with GraphSafe():
        eager.compute(inputs)


def test_a_replay_reads_its_inputs_from_its_own_buffers(trainers):
    """The tensors of a step may be gone, or full of nonsense, before the next one."""
    eager, replayed = trainers(batch_size=4)
    recorded(replayed)
    for number in range(8):
        wanted = eager.compute(eager.draws.step(number))
        inputs = replayed.draws.step(number)
        assert torch.equal(wanted, replayed.compute(inputs))
        each(lambda tensor: tensor.fill_(77), inputs._replace(squares=inputs.squares.clone()))


def test_compute_is_a_function_of_its_inputs(trainers):
    """Two systems in the same state and the same inputs give the same losses, whatever the trainers' step is."""
    one, other = trainers()
    inputs = one.draws.step(3)
    other.step = 9
    assert torch.equal(one.compute(inputs), other.compute(inputs))


@pytest.mark.parametrize("embedding", ["conv", "resnet18"])
def test_a_step_neither_reads_nor_makes_values_on_the_host(trainers, embedding):
    trainer, _ = trainers(embedding=embedding)
    trainer.scale = 1
    trainer.begin_scale()
    steps(trainer, 1)
    inputs = trainer.draws.step(1)
    with GraphSafe():
        trainer.compute(inputs)


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        lambda x: torch.tensor([1.0]) + x,
        torch.nonzero,
    ],
)
def test_the_guard_sees_what_a_graph_cannot_hold(look):
    with pytest.raises(GraphUnsafe), GraphSafe():
        look(torch.ones(3))


class Broken:
    def run(self, function):
        return function()

    def record(self, function):
        function()
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")


def test_a_capture_that_fails_is_reported_once_and_steps_go_on(caplog):
    step = Graphed(lambda inputs: inputs.first * 2, Broken())
    with caplog.at_level(logging.WARNING):
        results = [step(Pair(torch.tensor(float(i)), ())) for i in range(6)]
    assert [result.item() for result in results] == [0, 2, 4, 6, 8, 10]
    assert step.reason == "RuntimeError: operation not permitted when stream is capturing"
    assert [record.message.count(step.reason) for record in caplog.records] == [1]


def test_only_so_many_shapes_are_recorded(monkeypatch):
    monkeypatch.setattr(graph, "MOST_GRAPHS", 2)
    recorder = TapeRecorder(list)
    step = Graphed(lambda inputs: inputs.first.sum() + inputs.rest[0], recorder)
    for i in range(6):
        for size in (1, 2, 3):
            given = Pair(torch.full((size,), float(i)), (torch.tensor(1.0),))
            assert step(given).item() == size * i + 1
    assert recorder.recorded == 2 and recorder.replayed == 8


def test_without_a_gpu_the_function_itself_runs():
    step = graphed(lambda inputs: inputs.first, torch.device("cpu"))
    given = Pair(torch.ones(2), ())
    assert step(given) is given.first
    assert step.reason == "there are no CUDA graphs on cpu"


def test_nested_tuples_keep_their_shape():
    value = Pair(torch.ones(1), (torch.zeros(2), torch.ones(3)))
    doubled = each(lambda tensor: tensor * 2, value)
    assert isinstance(doubled, Pair) and doubled.absent is None
    assert [tensor.sum().item() for tensor in tensors(doubled)] == [2, 0, 6]

"""The estimate of what a step needs against the bytes that are alive in one, and what happens where it does not fit."""

from dataclasses import replace

import pytest
import torch

from hyperconv.data.collection import Collection
from hyperconv.errors import InputError
from hyperconv.gan import memory
from hyperconv.gan.meta import MetaGAN
from hyperconv.gan.parts import cut
from hyperconv.gan.player import Player
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.step import Step
from hyperconv.gan.trainer import Trainer
from tests.gan.conftest import picture
from tests.gan.live_memory import LiveMemory


def trainer_at(path, scale, photos=2, **changes):
    config = preset(
        "tiny",
        max_size=96,
        min_size=24,
        scale_count=3,
        hidden=32,
        features=8,
        iterations=(4,),
        batch_size=photos,
        embedding_size=32,
        first_scale_sees="embedding",
        variants=0,
    )
    config = replace(config, **changes)
    collection = Collection([picture(i, 96, 128) for i in range(photos)], config.pyramid())
    trainer = Trainer(Run.create(path, config, collection), collection)
    while trainer.scale < scale:
        trainer.scale += 1
        trainer.begin_scale()
    return trainer


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    "scale, changes",
    [
        (2, {}),
        (2, {"hidden": 64}),
        (1, {}),
        (2, {"depth": 3}),
        (2, {"precision": "bf16"}),
        (2, {"penalty_norm": "sample"}),
    ],
)
def test_the_estimate_of_activations_is_near_what_is_alive(tmp_path, scale, changes, recompute):
    trainer = trainer_at(tmp_path / "run", scale, **changes)
    trainer.take_step()
    trainer.compute.compute.recompute = recompute
    inputs = trainer.draws.step(1)
    with LiveMemory() as alive:
        trainer.compute(inputs)
    gradients = 4 * sum(p.numel() for player in trainer.players for p in player.parameters)
    estimate = 2 * memory.photo_bytes(trainer.config, 3, *inputs.photos.shape[-2:], recompute) + gradients
    assert 0.85 * alive.peak < estimate < 1.6 * alive.peak


def test_parameters_and_optimizers_are_counted(tmp_path):
    trainer = trainer_at(tmp_path / "run", 2)
    trainer.take_step()
    held = sum(p.numel() for p in trainer.system.parameters())
    trained = sum(p.numel() for player in trainer.players for p in player.parameters)
    wanted = 4 * (held + 3 * trained)
    assert memory.parameter_bytes(trainer.system, 2) == wanted
    with torch.device("meta"):
        outline = MetaGAN(trainer.config, 3, 24, pretrained=False)
    assert memory.parameter_bytes(outline, 2) == wanted
    assert memory.parameter_bytes(outline, 2, processes=4) == wanted - 4 * trained * 2 * 3 // 4


def test_fewer_photos_at_a_time_give_the_same_gradients(tmp_path):
    whole, parts = trainer_at(tmp_path / "a", 1, photos=3), trainer_at(tmp_path / "b", 1, photos=3)
    inputs = whole.draws.step(0)
    gradients = []
    for trainer, at_a_time in ((whole, 3), (parts, 2)):
        kept = []
        for player in trainer.players:
            player.update = lambda rate, player=player, kept=kept: kept.extend(p.grad for p in player.parameters)
        step = Step(trainer.system, trainer.players, cut(3, at_a_time, None, trainer.device))
        gradients.append([step(inputs), *kept])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("system", ["meta", "consingan", "singan"])
def test_activations_computed_again_give_the_same_gradients(tmp_path, system):
    config = preset("tiny", system, max_size=32, min_size=14, scale_count=2, hidden=6, iterations=(2,), batch_size=2)
    config = replace(config, embedding="conv", embedding_size=32, features=8)
    collection, ended = Collection([picture(i, 48, 64) for i in range(2)], config.pyramid()), []
    for recompute in (False, True):
        trainer = Trainer(Run.create(tmp_path / f"{recompute}", config, collection), collection)
        trainer.compute.compute.recompute = recompute
        trainer.take_step()
        ended.append(dict(trainer.system.named_parameters()))
    for name, value in ended[0].items():
        torch.testing.assert_close(ended[1][name], value, rtol=1e-3, atol=1e-5)


def test_fewer_photos_at_a_time_need_less_memory(tmp_path):
    peaks = []
    for at_a_time in (4, 1):
        trainer = trainer_at(tmp_path / str(at_a_time), 2, photos=4)
        step = Step(trainer.system, trainer.players, cut(4, at_a_time, None, trainer.device))
        inputs = trainer.draws.step(0)
        with LiveMemory() as alive:
            step(inputs)
        peaks.append(alive.peak)
    assert peaks[1] < 0.5 * peaks[0]


def outline_and_collection(batch_size=8):
    config = preset("paper", batch_size=batch_size, max_size=64, min_size=32, scale_count=2, embedding="conv")
    with torch.device("meta"):
        outline = MetaGAN(config, 3, 32, pretrained=False)
    return outline, Collection([picture(i, 64, 64) for i in range(batch_size)], config.pyramid())


def test_a_batch_is_taken_apart_where_memory_is_short_and_refused_where_not_one_photo_fits():
    outline, collection = outline_and_collection()
    everything = memory.parameter_bytes(outline, 1) + memory.batch_bytes(
        outline.config, outline, outline.config.batch_size
    )
    each = memory.photo_bytes(outline.config, 3, 64, 64)

    def plan(free):
        return memory.plan_scales(outline, collection, len(collection), free, "cuda:0")

    again = memory.photo_bytes(outline.config, 3, 64, 64, recompute=True)
    assert plan(None) == [(8, False), (8, False)]
    assert plan(int((everything + 8.1 * each) / memory.SHARE))[1] == (8, False)
    assert plan(int((everything + 7.9 * each) / memory.SHARE))[1] == (4, False)
    assert plan(int((everything + (each + again) / 2) / memory.SHARE))[1] == (1, True)
    with pytest.raises(InputError, match=r"scale \d \(\d+x\d+ px\) needs about .* GB.*cuda:0 has .*--max-size"):
        plan(int(everything * 0.9))


def test_a_run_that_cannot_fit_is_refused_before_it_allocates(tmp_path, monkeypatch, config, collection):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000_000)
    with pytest.raises(InputError, match="--batch-size"):
        Trainer(Run.create(tmp_path / "run", replace(config, hidden=4096), collection), collection)


def test_photos_wait_on_the_device_only_where_they_fit(monkeypatch, collection):
    for free, wanted in ((None, True), (10**9, True), (10**5, False)):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        assert memory.can_keep(collection, torch.device("cpu")) is wanted


def test_memory_in_use_is_known_here(tmp_path):
    trainer = trainer_at(tmp_path / "run", 0)
    assert memory.peak_bytes(trainer.device) > 10_000_000
    assert memory.free_bytes(trainer.device) > 1_000_000
    assert isinstance(trainer.players[0], Player)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), None])
def test_a_step_that_runs_out_of_memory_names_the_knobs(tmp_path, monkeypatch, error):
    trainer = trainer_at(tmp_path / "run", 0)

    def full(inputs):
        if error is not None:
            raise error
        torch.empty(1 << 50)

    monkeypatch.setattr(trainer, "compute", full)
    with pytest.raises(InputError, match="scale 1 does not fit.*--batch-size"):
        trainer.take_step()
    monkeypatch.setattr(trainer, "compute", lambda inputs: inputs.photos @ inputs.sizes)
    with pytest.raises(RuntimeError) as other:
        trainer.take_step()
    assert not isinstance(other.value, InputError)

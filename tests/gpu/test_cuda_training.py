"""Training the meta-GAN on a GPU, and moving what was trained to the CPU."""

import logging
import math
from dataclasses import replace

import pytest
import torch

from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo
from hyperconv.errors import InputError
from hyperconv.gan.graph import WARM_UP, Graphed
from hyperconv.gan.memory import free_bytes, peak_bytes
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run, load_system
from hyperconv.gan.trainer import Trainer


def picture(index: int, height: int, width: int) -> Photo:
    """Smooth coloured stripes, different for each index."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = [torch.sin(2 * math.pi * ((index + 1) * x + (c + 1) * y) + index) for c in range(3)]
    return Photo(f"picture{index}", torch.stack(waves) * 0.8)


@pytest.fixture(autouse=True)
def one_order_of_sums():
    """cuDNN's gradients would else part two equal trainers within a few steps of the game."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = before


@pytest.fixture
def config():
    return preset(
        "tiny",
        max_size=32,
        min_size=16,
        scale_count=3,
        hidden=8,
        features=8,
        iterations=(20,),
        batch_size=2,
        embedding_size=32,
    )


@pytest.fixture
def collection(config):
    """Three photos of different aspect ratios."""
    return Collection([picture(0, 48, 64), picture(1, 64, 40), picture(2, 50, 50)], config.pyramid())


def test_trains_every_scale(tmp_path, device, config, collection):
    trainer = Trainer(Run.create(tmp_path / "run", config, collection), collection, device)
    losses = [progress.losses for progress in trainer.train() if progress.losses]
    assert trainer.finished
    assert len(losses) == 3 * 2
    assert all(math.isfinite(value) for each in losses for value in each.values())
    assert all(p.device.type == device for p in trainer.system.parameters())


def test_a_run_trained_on_the_gpu_draws_the_same_on_the_cpu(tmp_path, device, config, collection):
    trainer = Trainer(Run.create(tmp_path / "run", config, collection), collection, device)
    for _ in trainer.train():
        pass
    run = Run.open(tmp_path / "run")
    images = []
    for where in (device, "cpu"):
        system, amplitudes, _, _ = load_system(run, collection, "model", where)
        sizes = [each.to(where) for each in collection.sizes]
        with torch.no_grad():
            model = system.photo_model(system.contexts(collection, torch.arange(3)), sizes, amplitudes)
            images.append(model.reconstruct().cpu())
    torch.testing.assert_close(*images, rtol=1e-3, atol=1e-3)


def test_one_step_is_the_same_on_both_devices(tmp_path, device, config, collection):
    """The same noise and weights lead to the same gradients: losses of a first step agree."""
    values = []
    for where in (device, "cpu"):
        trainer = Trainer(Run.create(tmp_path / where, config, collection), collection, where)
        values.append(trainer.take_step()["reconstruction"].mean().item())
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def trainer_at(path, scale, config, collection, device, graphs=True):
    """A trainer at the beginning of a scale, its steps replayed from graphs or launched one by one."""
    trainer = Trainer(Run.create(path, config, collection), collection, device)
    while trainer.scale < scale:
        trainer.scale += 1
        trainer.begin_scale()
    if not graphs:
        trainer.compute = Graphed(trainer.compute.compute, None, "asked for")
    return trainer


def losses_of(trainer, count):
    """Means over the photos of the losses of so many steps."""
    taken = []
    for _ in range(count):
        taken.append({name: value.mean().item() for name, value in trainer.take_step().items()})
        trainer.step += 1
    return taken


@pytest.fixture
def one_shape(config):
    """Photos of one size: one graph serves every step."""
    photos = [picture(i, 48, 64) for i in range(3)]
    return Collection(photos, config.pyramid())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"embedding_trains": "every scale"},
        {"precision": "tf32"},
        {"precision": "bf16"},
        {"variants": 3, "first_scale_sees": "embedding and thumbnail"},
        {"hidden": 64, "embedding": "resnet18"},
    ],
    ids=["default", "embedding", "tf32", "bf16", "variants", "published nets"],
)
@pytest.mark.parametrize("scale", [0, 1])
def test_steps_replayed_from_a_graph_are_the_eager_ones(tmp_path, device, config, one_shape, changes, scale):
    config = replace(config, decay_at=0.4, **changes)
    replayed = trainer_at(tmp_path / "a", scale, config, one_shape, device)
    eager = trainer_at(tmp_path / "b", scale, config, one_shape, device, graphs=False)
    wanted, found = (losses_of(trainer, WARM_UP + 4) for trainer in (eager, replayed))
    assert replayed.compute.reason is None, replayed.compute.reason
    assert len(replayed.compute.recordings) >= 1
    tolerance = 2e-2 if changes.get("precision") == "bf16" else 1e-3
    for one, other in zip(wanted, found, strict=True):
        assert other == pytest.approx(one, rel=tolerance, abs=tolerance)


def test_the_first_replay_takes_exactly_the_eager_step(tmp_path, device, config, one_shape):
    """The same kernels on the same numbers: equal to the bit where their sums have an order."""
    replayed = trainer_at(tmp_path / "a", 1, config, one_shape, device)
    eager = trainer_at(tmp_path / "b", 1, config, one_shape, device, graphs=False)
    assert losses_of(replayed, WARM_UP + 1) == losses_of(eager, WARM_UP + 1)


def test_photos_of_many_sizes_train_through_graphs_of_their_own(tmp_path, device, config, collection):
    trainer = trainer_at(tmp_path / "run", 1, config, collection, device)
    losses = losses_of(trainer, 20)
    assert trainer.compute.reason is None, trainer.compute.reason
    assert all(math.isfinite(value) for each in losses for value in each.values())


def test_a_step_that_cannot_be_captured_says_so_and_runs(tmp_path, device, config, one_shape, caplog):
    trainer = trainer_at(tmp_path / "run", 0, config, one_shape, device)
    step = trainer.compute.compute

    def looking(inputs):
        losses = step(inputs)
        losses[0, 0].item()
        return losses

    trainer.compute = Graphed(looking, trainer.compute.recorder)
    with caplog.at_level(logging.WARNING, logger="hyperconv.gan.graph"):
        losses = losses_of(trainer, WARM_UP + 4)
    assert trainer.compute.reason is not None
    assert len(caplog.records) == 1
    eager = losses_of(trainer_at(tmp_path / "eager", 0, config, one_shape, device, graphs=False), WARM_UP + 4)
    for one, other in zip(eager, losses, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-3)


def test_a_resumed_run_goes_on_where_it_stopped(tmp_path, device, config, one_shape):
    whole = Trainer(Run.create(tmp_path / "whole", config, one_shape), one_shape, device, checkpoint_every=10)
    for _ in whole.train():
        pass
    parts = Trainer(Run.create(tmp_path / "parts", config, one_shape), one_shape, device, checkpoint_every=10)
    steps = parts.train()
    for _ in range(33):
        next(steps)
    run = Run.open(tmp_path / "parts")
    resumed = Trainer(run, run.collection(), device, checkpoint_every=10)
    for _ in resumed.train():
        pass
    everyone = torch.arange(3)
    with torch.no_grad():
        torch.testing.assert_close(
            resumed.photo_model(everyone).reconstruct(), whole.photo_model(everyone).reconstruct(), rtol=1e-2, atol=1e-2
        )


def test_photos_may_wait_in_main_memory(tmp_path, device, config, one_shape, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("hyperconv.gan.memory.can_keep", lambda collection, device: False)
        trainer = trainer_at(tmp_path / "run", 1, config, one_shape, device)
    assert trainer.collection.device.type == "cpu"
    here = losses_of(trainer, 6)
    there = losses_of(trainer_at(tmp_path / "other", 1, config, one_shape, device), 6)
    for one, other in zip(here, there, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-3)


def test_the_peak_of_memory_is_that_of_the_scale(tmp_path, device, config, one_shape):
    trainer = trainer_at(tmp_path / "run", 0, config, one_shape, device)
    losses_of(trainer, 1)
    assert 0 < peak_bytes(trainer.device) <= torch.cuda.max_memory_allocated()
    assert free_bytes(trainer.device) > 0


def test_a_step_that_outgrows_the_gpu_names_the_knobs(tmp_path, device, config, one_shape, monkeypatch):
    trainer = trainer_at(tmp_path / "run", 0, config, one_shape, device)

    def full(inputs):
        return torch.empty(1 << 50, device=device)

    monkeypatch.setattr(trainer, "compute", full)
    with pytest.raises(InputError, match="--batch-size"):
        trainer.take_step()

"""Training the meta-GAN on a GPU, and moving what was trained to the CPU."""

import math

import pytest
import torch

from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run, load_system
from hyperconv.gan.trainer import Trainer


def picture(index: int, height: int, width: int) -> Photo:
    """Smooth coloured stripes, different for each index."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = [torch.sin(2 * math.pi * ((index + 1) * x + (c + 1) * y) + index) for c in range(3)]
    return Photo(f"picture{index}", torch.stack(waves) * 0.8)


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
        system, amplitudes, _, _ = load_system(run, "model", where)
        inputs = collection.embedding_inputs([0, 1, 2], config.embedding_size).to(where)
        coarsest = collection.batch([0, 1, 2], 0).images.to(where)
        sizes = [each.to(where) for each in collection.sizes]
        with torch.no_grad():
            model = system.photo_model(system.generator.embed(inputs, coarsest), sizes, amplitudes)
            images.append(model.reconstruct().cpu())
    torch.testing.assert_close(*images, rtol=1e-3, atol=1e-3)


def test_one_step_is_the_same_on_both_devices(tmp_path, device, config, collection):
    """The same noise and weights lead to the same gradients: losses of a first step agree."""
    values = []
    for where in (device, "cpu"):
        trainer = Trainer(Run.create(tmp_path / where, config, collection), collection, where)
        values.append(trainer.take_step()["reconstruction"].item())
    assert values[0] == pytest.approx(values[1], rel=1e-3)

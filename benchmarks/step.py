"""A trainer at the published settings, brought to a scale without training the ones before: what is timed of a step."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.plain_step import SIZES
from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer

PLAIN = "plain PyTorch, as published"


def trainer(folder: Path, batch: int, device: str, embedding_trains: str) -> Trainer:
    """The package's own trainer at the published settings, on `batch` random photos."""
    config = preset("paper", batch_size=batch, embedding_trains=embedding_trains)
    photos = [Photo(f"photo{i}", torch.rand(3, *SIZES[-1]) * 2 - 1) for i in range(batch)]
    collection = Collection(photos, config.pyramid())
    assert [tuple(sizes[0].tolist()) for sizes in collection.sizes] == list(SIZES)
    return Trainer(Run.create(folder, config, collection), collection, device)


def go_to_scale(trainer: Trainer, scale: int) -> None:
    """What the training loop does between two scales, without the steps before."""
    while trainer.scale < scale:
        trainer.scale, trainer.step = trainer.scale + 1, 0
        trainer.begin_scale()


def check_losses(name: str, losses: dict[str, torch.Tensor]) -> None:
    """Nothing is timed that does not train."""
    bad = [loss for loss, value in losses.items() if not torch.as_tensor(value).isfinite().all()]
    if bad:
        raise SystemExit(f"{name}: the loss {bad[0]!r} is {losses[bad[0]]}; no time is reported")

"""Imitating a domain that a Reptile-GAN never saw from a few of its images."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from hyperconv.apps.model import resolve_device
from hyperconv.apps.sample import image_paths, write_images
from hyperconv.apps.sheet import contact_sheet, image_rows
from hyperconv.data.domain_files import read_shots
from hyperconv.data.domains import Domains
from hyperconv.files import refuse_existing
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.reptile.draws import Draws
from hyperconv.gan.reptile.system import ReptileGAN
from hyperconv.gan.reptile.tasks import Tasks
from hyperconv.gan.reptile.trainer import ReptileTrainer, adapt
from hyperconv.gan.run import Run, fill

SHEET_DOMAINS, SHEET_IMAGES = 8, 6  # on the sheets written while training
STRANGER = "the domain to imitate"


class DomainModel:
    """A trained Reptile-GAN and the domains of its run, opened for use."""

    def __init__(self, gan: ReptileGAN, domains: Domains) -> None:
        self.gan, self.config, self.domains = gan, gan.config, domains.to(gan.device)

    @classmethod
    def open(cls, path: str | PathLike, device: str = "auto") -> DomainModel:
        """Open a run folder; InputError, in one line, where it is none of --system reptile, or is damaged."""
        run = Run.open(path)
        domains = run.domains("reptile")
        gan = ReptileGAN(run.config, domains.channels, resolve_device(device))
        fill(run, gan.tensors(), run.load("model")[0])
        return cls(gan, domains)

    def adapt(self, shots: Tensor, steps: int | None = None, seed: int = 0) -> Imitation:
        """Imitate the domain that `shots` (k, C, S, S) in [-1, 1] are of, from them alone; the model is not changed.

        steps: of the inner loop (default: the run's). The critic also sees images of the run's own domains.
        """
        domains = self.domains.with_domain(STRANGER, shots)
        draws = Draws(domains, self.config, torch.tensor([len(domains) - 1], device=domains.device), "imitate", seed)
        return Imitation(
            adapt(self.gan, draws, self.config.inner_steps if steps is None else steps), domains.images(STRANGER)
        )


class Imitation:
    """A Reptile-GAN adapted to one domain: `sample(count, seed)` gives images (count, C, S, S) in [-1, 1]."""

    def __init__(self, task: Tasks, shots: Tensor) -> None:
        self.task, self.shots = task, shots

    def sample(self, count: int, seed: int = 0) -> Tensor:
        source = seeded(self.shots.device, seed, "samples")
        return self.task.sample(white((count, self.task.config.latent), source), self.shots)


def imitate(
    model: DomainModel,
    shots: str | PathLike | Iterable[str | PathLike],
    k: int,
    steps: int | None = None,
    seed: int = 0,
) -> Imitation:
    """Imitate the domain of the first k images among files and folders. InputError where there are fewer."""
    return model.adapt(read_shots(shots, k, model.domains), steps, seed)


def write_imitation(
    model: DomainModel,
    shots: str | PathLike,
    k: int,
    folder: str | PathLike,
    count: int = 16,
    *,
    steps: int | None = None,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """`imitate` into files: FOLDER/sample_01.png ... and a sheet of the shots and the samples (returned).

    InputError where one of these files is there already, unless `force`.
    """
    folder = Path(folder)
    refuse_existing([folder / "sheet.png", *image_paths(folder, "sample", count)], force)
    imitation = imitate(model, shots, k, steps, seed)
    samples = imitation.sample(count, seed)
    write_images(samples, folder, "sample")
    rows = image_rows(f"{k} real", imitation.shots) + image_rows("generated", samples)
    contact_sheet(rows, path=folder / "sheet.png")
    return folder / "sheet.png"


def write_domain_sheet(trainer: ReptileTrainer) -> Path:
    """RUN/samples/step_T.png: images of the first domains, and samples of copies adapted to each."""
    chosen = torch.arange(min(len(trainer.domains), SHEET_DOMAINS))
    tasks, real = trainer.adapted(chosen)
    per_domain = len(real) // len(chosen)
    source = seeded(trainer.device, trainer.config.seed, "sheet")
    samples = tasks.sample(white((len(chosen) * SHEET_IMAGES, trainer.config.latent), source), real)
    rows = [
        (name, [*some_real[:SHEET_IMAGES], None, *drawn])
        for name, some_real, drawn in zip(trainer.domains.names, real.split(per_domain), samples.split(SHEET_IMAGES))
    ]
    headings = ["real", *[""] * min(SHEET_IMAGES, per_domain), "generated"]
    path = trainer.run.path / "samples" / f"step_{trainer.step:06}.png"
    contact_sheet(rows, headings, path)
    return path

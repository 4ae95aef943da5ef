"""A run of --system dip opened for use: images drawn around instances, between them, and around a photo of yours."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.apps.model import resolve_device
from hyperconv.apps.sample import image_paths, write_images
from hyperconv.apps.sheet import contact_sheet, image_rows, strip
from hyperconv.data.domain_files import read_image
from hyperconv.data.images import save_png
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing
from hyperconv.gan.dip import inversion
from hyperconv.gan.dip.features import open_features
from hyperconv.gan.dip.instances import Instances
from hyperconv.gan.dip.inversion import Inversion
from hyperconv.gan.dip.prior import prior as named_prior
from hyperconv.gan.dip.system import InstanceGAN
from hyperconv.gan.dip.trainer import DipTrainer
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.run import Run, fill
from hyperconv.nn.instance_features import InstanceFeatures
from hyperconv.progress import OnEach

AT_ONCE = 256  # images drawn in a batch
SHEET_INSTANCES, SHEET_IMAGES, SHEET_SAMPLES = 6, 6, 64  # on sheets: while training; of samples


class InstanceModel:
    """A trained GAN, the images of its run with their features, and the network that gives a photo such features."""

    def __init__(self, gan: InstanceGAN, instances: Instances, extractor: InstanceFeatures | None) -> None:
        self.gan, self.config, self.instances, self.extractor = gan, gan.config, instances, extractor

    @classmethod
    def open(cls, path: str | PathLike, device: str = "auto") -> InstanceModel:
        """Open a run folder; InputError, in one line, where it is none of --system dip, or is damaged."""
        run = Run.open(path)
        domains = run.domains("dip").to(resolve_device(device))
        tensors, _ = run.load("model")
        extractor, features = open_features(run, domains)
        gan = InstanceGAN(run.config, domains.channels, features.shape[1]).to(domains.device)
        fill(run, gan.state_dict(), tensors)
        return cls(gan, Instances(domains, features), extractor)

    @property
    def device(self) -> torch.device:
        return self.instances.features.device

    def photo(self, reference: str | PathLike) -> Tensor:
        """An image (C, S, S) in [-1, 1]: FOLDER:NUMBER of the run, or the middle square of a file."""
        if Path(reference).is_file():
            return read_image(reference, self.instances.domains).to(self.device)
        return self.instances.domains.at(torch.tensor([self.instances.find(str(reference))], device=self.device))[0]

    def prior(self, reference: str | PathLike) -> Tensor:
        """The features (F,) of such an image."""
        self.check_prior()
        if not Path(reference).is_file():
            return self.instances.features[self.instances.find(str(reference))]
        with torch.no_grad():
            return self.extractor(self.photo(reference)[None])[0]

    def check_prior(self) -> None:
        """InputError where the run was trained without the prior."""
        if self.extractor is None:
            raise InputError("this run was trained without the prior: single images mean nothing to it")

    @torch.no_grad()
    def draw(self, noise: Tensor, priors: Tensor) -> Tensor:
        """Images (N, C, S, S) in [-1, 1] of noise (N, latent) and priors (N, F)."""
        pairs = zip(noise.split(AT_ONCE), priors.split(AT_ONCE))
        return torch.cat([self.gan.draw(*pair) for pair in pairs])

    def noise(self, count: int, seed: int) -> Tensor:
        return white((count, self.config.latent), seeded(self.device, seed, "samples"))


def sample_instances(
    model: InstanceModel, count: int, prior: str = "stored", *, seed: int = 0, **settings: int
) -> Tensor:
    """`count` images (count, C, S, S) in [-1, 1] of priors that are drawn, too.

    prior: 'stored', 'mixed', 'kmeans', 'gmm' or 'neighbours', with its settings (`hyperconv.gan.dip.prior`).
    """
    if prior != "stored":
        model.check_prior()
    priors = named_prior(prior, model.instances.features, **settings).draw(count, seeded(model.device, seed, "prior"))
    return model.draw(model.noise(count, seed), priors)


def sample_around(model: InstanceModel, reference: str | PathLike, count: int, *, seed: int = 0) -> Tensor:
    """`count` images of one prior: of an instance of the run, or of the photo in a file."""
    return model.draw(model.noise(count, seed), model.prior(reference).expand(count, -1))


def interpolate_instances(
    model: InstanceModel, a: str | PathLike, b: str | PathLike, steps: int = 8, *, seed: int = 0
) -> Tensor:
    """`steps` images from the prior of a to that of b, of equal noise; each is an instance of the run or a file."""
    share = torch.linspace(0, 1, steps, device=model.device)[:, None]
    between = F.normalize(torch.lerp(model.prior(a), model.prior(b), share), dim=1)
    return model.draw(model.noise(1, seed).expand(steps, -1), between)


def invert(
    model: InstanceModel, photo: Tensor, steps: int = 300, *, seed: int = 0, on_step: OnEach = None
) -> tuple[Inversion, float]:
    """The prior and the noise of a photo (C, S, S) in [-1, 1], and the mean squared error they were sought from."""
    source = seeded(model.device, seed, "invert")
    for taken, found in enumerate(inversion.invert(model.gan, photo, model.extractor, steps, source)):
        if taken == 0:
            best, before = found, found.error
        best = min(best, found, key=lambda each: each.error)
        if on_step is not None and taken:
            on_step(taken, steps)
    return best, before


def write_instance_samples(
    folder: str | PathLike, images: Sequence[Tensor], around: Sequence[Tensor] = (), force: bool = False
) -> Path:
    """FOLDER/sample_01.png ... and a sheet (returned) of the first ones, those around one image in a row beside it."""
    sheet = Path(folder) / "sheet.png"
    refuse_existing([*image_paths(folder, "sample", len(images)), sheet], force)
    write_images(images, folder, "sample")
    rows = image_rows("", images[:SHEET_SAMPLES])
    if around:
        each = len(images) // len(around)
        rows = [
            ("", [own, None, *images[number * each : number * each + each][:SHEET_SAMPLES]])
            for number, own in enumerate(around)
        ]
    contact_sheet(rows, ["image", "", "around it"] if around else (), sheet)
    return sheet


def file_name(instance: str) -> str:
    """FOLDER:NUMBER as part of a file's name."""
    return instance.replace("/", "_").replace(":", "_")


def write_instance_walk(
    model: InstanceModel, a: str, b: str, folder: str | PathLike, steps: int = 8, *, seed: int = 0, force: bool = False
) -> Path:
    """`interpolate_instances` into files: FOLDER/A-B_01.png ... and all of them between the two images, A-B.png (returned)."""
    names = [Path(name).stem if Path(name).is_file() else name for name in (a, b)]
    stem = "-".join(map(file_name, names))
    picture = Path(folder) / f"{stem}.png"
    refuse_existing([*image_paths(folder, stem, steps), picture], force)
    frames = interpolate_instances(model, a, b, steps, seed=seed)
    write_images(frames, folder, stem)
    captions = [names[0], *(f"{i / (steps - 1):.2f}" for i in range(steps)), names[1]]
    strip([model.photo(a), *frames, model.photo(b)], captions, picture)
    return picture


def write_inversion(
    model: InstanceModel,
    photo: str | PathLike,
    folder: str | PathLike,
    count: int = 6,
    *,
    steps: int = 300,
    seed: int = 0,
    force: bool = False,
    on_step: OnEach = None,
) -> tuple[Path, float, float]:
    """A photo found in the GAN's world, and what is around it: a sheet, and the RMSE (of values 0 to 1) before and after.

    FOLDER/reconstruction.png; variation_01.png ..., its prior with other noise; and, with the prior, edit_01.png ..., its
    noise with the prior half way to that of instances of the run.
    """
    folder, kinds = Path(folder), ["variation"] if model.extractor is None else ["variation", "edit"]
    files = [path for kind in kinds for path in image_paths(folder, kind, count)]
    refuse_existing([*files, folder / "reconstruction.png", folder / "sheet.png"], force)
    wanted = model.photo(photo)
    found, before = invert(model, wanted, steps, seed=seed, on_step=on_step)
    save_png(found.image.clamp(-1, 1), folder / "reconstruction.png")
    variations = model.draw(model.noise(count, seed), found.prior.expand(count, -1))
    rows = [(["photo", "reconstruction"], [wanted, found.image.clamp(-1, 1)]), *image_rows("other noise", variations)]
    write_images(variations, folder, "variation")
    if model.extractor is not None:
        instances = model.instances
        others = torch.randint(
            len(instances), (count,), generator=seeded(model.device, seed, "edit"), device=model.device
        )
        priors = F.normalize(found.prior + instances.features[others], dim=1)
        edits = model.draw(found.noise.expand(count, -1), priors)
        write_images(edits, folder, "edit")
        captions = [instances.name(int(place)) for place in others]
        rows += [("half way to", list(edits)), (captions, list(instances.domains.at(others)))]
    contact_sheet(rows, path=folder / "sheet.png")
    return folder / "sheet.png", before**0.5 / 2, found.error**0.5 / 2


@torch.no_grad()
def write_instance_sheet(trainer: DipTrainer) -> Path:
    """RUN/samples/step_T.png: some instances, and images of their priors, each column of one noise."""
    instances, source = trainer.instances, seeded(trainer.device, trainer.config.seed, "sheet")
    count = min(SHEET_INSTANCES, len(instances))
    chosen = torch.randperm(len(instances), generator=source, device=trainer.device)[:count]
    noise = white((SHEET_IMAGES, trainer.config.latent), source)
    priors = instances.features[chosen].repeat_interleave(SHEET_IMAGES, 0)
    drawn = trainer.gan.draw(noise.repeat(count, 1), priors).split(SHEET_IMAGES)
    rows = [
        (instances.name(int(place)), [real, None, *images])
        for place, real, images in zip(chosen, instances.domains.at(chosen), drawn)
    ]
    path = trainer.run.path / "samples" / f"step_{trainer.step:06}.png"
    contact_sheet(rows, ["real", "", "generated"], path)
    return path

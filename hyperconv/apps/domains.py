"""Starting the systems that learn from folders of images in place of photos: Reptile-GAN and Data Instance Prior."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from hyperconv.apps.model import resolve_device
from hyperconv.data.domain_files import DIGITS_HELD_OUT, load_digits, read_domains, read_images
from hyperconv.data.domains import Domains
from hyperconv.data.images import save_png
from hyperconv.errors import InputError
from hyperconv.gan.dip.features import open_features
from hyperconv.gan.dip.presets import DipConfig
from hyperconv.gan.dip.trainer import DipTrainer
from hyperconv.gan.dip.transfer import start_from
from hyperconv.gan.domain_trainer import DomainTrainer
from hyperconv.gan.ranks import Ranks
from hyperconv.gan.reptile.presets import ReptileConfig
from hyperconv.gan.reptile.trainer import ReptileTrainer
from hyperconv.gan.run import Run
from hyperconv.progress import OnEach

HELD_OUT_IMAGES = 100  # written of each domain kept aside
TRAINERS = {"reptile": ReptileTrainer, "dip": DipTrainer}


def start_domains(
    data: Domains | str | PathLike | None,
    out: str | PathLike,
    config: ReptileConfig | DipConfig,
    *,
    hold_out: Sequence[str] = (),
    device: str = "auto",
    on_step: OnEach = None,
) -> tuple[DomainTrainer, list[str]]:
    """A trainer at its first step in a new run folder, and one line for each file that was left out.

    data: domains of config.image_size pixels, or a folder (of domains, `read_domains`, for a Reptile-GAN; of images,
    `read_images`, for a Data Instance Prior), or None for scikit-learn's digits, of which 8 and 9 are held out if
    nothing else is. hold_out: domains not trained on; some of their images go to RUN/held_out/NAME. Where
    config.started_from names a run, the new one starts from its weights. on_step(taken, all): called while a network for
    features is trained.
    """
    where = resolve_device(device)
    source = None if config.system != "dip" or config.started_from is None else Run.open(config.started_from)
    domains, remarks = _read(data, config, None if source is None else source.domains("dip").channels)
    if data is None:
        hold_out = hold_out or DIGITS_HELD_OUT
    if domains.size != config.image_size:
        raise InputError(f"the images are {domains.size} pixels wide and image_size is {config.image_size}")
    domains, held_out = domains.without(hold_out)
    if config.system == "reptile" and len(domains) < 2:
        raise InputError(f"{len(domains)} domains are left to learn from: two or more are needed, to tell them apart")
    run = Run.create(out, config, domains)
    try:
        for name, images in held_out.items():
            for number, image in enumerate(images[:HELD_OUT_IMAGES], 1):
                save_png(-image if domains.inverted else image, run.path / "held_out" / name / f"{number:03}.png")
        if source is not None:
            start_from(source, run, domains.to(where))
        elif config.system == "dip":
            open_features(run, domains.to(where), on_step)
        return TRAINERS[config.system](run, domains, where), remarks
    except InputError:
        run.discard()
        raise


def _read(
    data: Domains | str | PathLike | None, config: ReptileConfig | DipConfig, channels: int | None
) -> tuple[Domains, list[str]]:
    if data is None or isinstance(data, Domains):
        domains = load_digits(config.image_size) if data is None else data
        return domains if channels is None else domains.with_channels(channels), []
    if config.system == "reptile":
        return read_domains(data, config.image_size)
    return read_images(data, config.image_size, channels)


def check_domains(on_disk: bool, ranks: Ranks) -> None:
    """InputError for what the training of these systems cannot do."""
    if ranks.count > 1:
        raise InputError(f"this system trains in one process, {ranks.count} were started: start it without torchrun")
    if on_disk:
        raise InputError("this system has its images in memory: leave out what keeps them on disk")

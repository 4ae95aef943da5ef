"""ConSinGAN's photos an hour and their scores: N photos side by side, and the published loop, one photo after another.

    OMP_NUM_THREADS=1 python -m benchmarks.images_per_hour [PHOTOS] [--together 1 4] [--max-size 64] [--iterations 200]
                                                           [--published 4] [--device cpu] [--precision fp32]
                                                           [--out images_per_hour.md]

PHOTOS: a folder; the bundled photos if none is given. As many of them as the largest N are trained to the end at the
published settings but smaller, all six stages with the same iterations: for each N in groups of N, and by the published
loop (`plain_consingan`). 10 samples of each photo are scored alike. Seconds are of the processor; on a GPU, of the wall.
The published loop takes only the first photos where --published says how many, and all scores are then of those. On a GPU
both compute in TF32, cuDNN's way of float32, unless --precision says otherwise of this package.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.lr_scheduler import MultiStepLR

from benchmarks.environment import describe
from benchmarks.plain_consingan import PlainConSinGAN
from benchmarks.report import publish, table
from benchmarks.singles import PRECISION
from benchmarks.training import SCORES, clock, means, scores_of_all
from hyperconv.apps.evaluate import score
from hyperconv.apps.model import Model, resolve_device
from hyperconv.apps.train import train
from hyperconv.data.collection import Collection
from hyperconv.data.examples import load_examples
from hyperconv.data.images import Photo, find_photos, read_photo
from hyperconv.gan.precision import PRECISIONS
from hyperconv.gan.presets import Config, preset
from hyperconv.metrics.pixels import reconstruction_rmse

DECAY_AT = 0.8  # of a stage's iterations, from where on the rate is a tenth
NOISE = 0.1  # amplitude of a stage's noise over the RMSE of what the stages so far reconstruct
PUBLISHED = "published loop, one by one"


def load(folder: Path | None, count: int) -> list[Photo]:
    """The first photos of a folder by their file names, or the first bundled ones."""
    files = [] if folder is None else sorted(find_photos(folder), key=lambda path: path.name)[:count]
    photos = [read_photo(file, channels=3) for file in files] or load_examples()[:count]
    if len(photos) < count:
        raise SystemExit(f"{count} photos side by side were asked for, and there are {len(photos)}")
    return photos


def grown(old: PlainConSinGAN | None, photos: list[Tensor]) -> PlainConSinGAN:
    """The training of the next stage: its body starts as a copy of the last one, the critic goes on."""
    new = PlainConSinGAN(photos)
    if old is None:
        return new
    new.generator.load_state_dict({**new.generator.state_dict(), **old.generator.state_dict()})
    new.generator.bodies[-1].load_state_dict(old.generator.bodies[-1].state_dict())
    new.critic.load_state_dict(old.critic.state_dict())
    new.fixed[:-1] = old.fixed
    new.amplitudes = [*old.amplitudes, 0.0]
    with torch.no_grad():
        new.amplitudes[-1] = NOISE * float((new.draw(new.fixed) - photos[-1]).square().mean().sqrt())
    return new


def plainly(pyramid: list[Tensor], iterations: int, count: int) -> dict[str, float]:
    """Scores of a photo trained alone by the published loop; pyramid: (1, C, h, w), coarse to fine."""
    torch.manual_seed(0)
    photo, device = pyramid[-1][0], pyramid[-1].device
    gan, began = None, clock(device)
    for stage in range(len(pyramid)):
        gan = grown(gan, pyramid[: stage + 1])
        schedules = [MultiStepLR(adam, [int(DECAY_AT * iterations)]) for adam in (gan.generator_adam, gan.critic_adam)]
        for _ in range(iterations):
            gan.step()
            for schedule in schedules:
                schedule.step()
    seconds = clock(device) - began
    with torch.no_grad():
        samples = [gan.draw(gan.noise())[0] for _ in range(count)]
        rmse = reconstruction_rmse(gan.draw(gan.fixed)[0], photo)
    return {**score(samples, photo), "rmse": rmse, "seconds": seconds}


def side_by_side(photos: Sequence[Photo], config: Config, device: torch.device, count: int) -> list[dict[str, float]]:
    """Scores of photos trained in one batch, and the seconds that each of them took."""
    began = clock(device)
    with tempfile.TemporaryDirectory() as folder:
        run = train(
            photos,
            Path(folder) / "run",
            "paper",
            system="consingan",
            device=device.type,
            max_size=config.max_size,
            min_size=config.min_size,
            iterations=config.iterations,
            precision=config.precision,
        )
        seconds = (clock(device) - began) / len(photos)
        found = scores_of_all(Model.open(run.path, device.type), count)
    return [{**scores, "seconds": seconds} for scores in found.values()]


def trained(
    photos: list[Photo], config: Config, together: Sequence[int], published: int, device: torch.device, count: int
) -> dict[str, dict[str, float]]:
    """Mean scores of the first `published` photos and seconds of a photo, by who trained it."""
    rows = {}
    for size in together:
        groups = [photos[start : start + size] for start in range(0, len(photos), size)]
        of_each = [row for group in groups for row in side_by_side(group, config, device, count)]
        rows[f"hyperconv, {size} side by side"] = means(of_each[:published]) | {"seconds": means(of_each)["seconds"]}
    collection = Collection(photos, config.pyramid())
    pyramids = [
        [collection.batch([index], scale).images.to(device) for scale in range(config.scale_count)]
        for index in range(published)
    ]
    rows[PUBLISHED] = means(plainly(pyramid, config.iterations[0], count) for pyramid in pyramids)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="photos (the bundled ones)")
    parser.add_argument("--together", type=int, nargs="+", default=[1, 4], help="photos side by side (1 4)")
    parser.add_argument("--max-size", type=int, default=64)
    parser.add_argument("--min-size", type=int, default=16, help="short side of the coarsest stage")
    parser.add_argument("--iterations", type=int, default=200, help="of each stage; 2,000 are published")
    parser.add_argument("--count", type=int, default=10, help="samples of each photo that are scored")
    parser.add_argument("--published", type=int, help="photos that the published loop trains (all)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, help="of this package (fp32, on a GPU tf32)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    config = preset(
        "paper",
        "consingan",
        max_size=options.max_size,
        min_size=options.min_size,
        iterations=(options.iterations,),
        precision=options.precision or PRECISION[device.type],
    )
    photos = load(options.folder, max(options.together))
    published = min(options.published or len(photos), len(photos))
    rows = trained(photos, config, options.together, published, device, options.count)
    plain = rows[PUBLISHED]["seconds"]
    cells = [
        [
            who,
            *(f"{row[key]:.4f}" for key in SCORES),
            f"{row['seconds']:.3g}",
            f"{3600 / row['seconds']:.3g}",
            f"{plain / row['seconds']:.2f}",
        ]
        for who, row in rows.items()
    ]
    about = (
        f"{len(photos)} photos at {options.max_size} px, {config.scale_count} stages of {options.iterations} iterations, "
        f"{options.count} samples of each, means over {published} of them; "
        f"seconds {'of the processor ' * (device.type == 'cpu')}for a photo; hyperconv in {config.precision}."
    )
    publish(
        "ConSinGAN: photos an hour and their scores",
        describe(device.type),
        [about, "", *table(["trained", *SCORES.values(), "seconds", "photos an hour", "times"], cells)],
        options.out,
    )


if __name__ == "__main__":
    main()

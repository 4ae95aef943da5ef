"""What ConSinGAN learns side by side and what the published loop learns, one photo after another, in as many iterations.

    OMP_NUM_THREADS=1 python -m benchmarks.single_scores [--photos china coffee] [--max-size 64] [--iterations 200]
                                                         [--out single_scores.md]

Bundled photos at the published settings but smaller, all six stages; 10 samples of each photo are scored alike. Seconds
are of the processor.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.environment import describe
from benchmarks.plain_consingan import PlainConSinGAN
from benchmarks.report import publish, table
from benchmarks.training import SCORES, means
from hyperconv import apps
from hyperconv.apps.evaluate import score
from hyperconv.apps.sample import draw, reconstruct
from hyperconv.apps.train import train
from hyperconv.data.examples import load_examples
from hyperconv.data.images import Photo
from hyperconv.gan.presets import Config, preset
from hyperconv.metrics.pixels import reconstruction_rmse

NOISE = 0.1  # amplitude of a stage's noise over the RMSE of what the stages so far reconstruct
SIDE_BY_SIDE, PUBLISHED = "hyperconv, side by side", "published loop, one by one"


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


def plainly(photo: Tensor, pyramid: list[Tensor], iterations: int, count: int) -> dict[str, float]:
    """Scores of a photo (C, H, W) trained alone by the published loop."""
    torch.manual_seed(0)
    gan, began = None, time.process_time()
    for stage in range(len(pyramid)):
        gan = grown(gan, pyramid[:stage + 1])
        for _ in range(iterations):
            gan.step()
    seconds = time.process_time() - began
    with torch.no_grad():
        samples = [gan.draw(gan.noise())[0] for _ in range(count)]
        rmse = reconstruction_rmse(gan.draw(gan.fixed)[0], photo)
    return {**score(samples, photo), "rmse": rmse, "seconds": seconds}


def side_by_side(photos: list[Photo], config: Config, folder: Path, count: int) -> tuple[apps.Model, list[dict[str, float]]]:
    began = time.process_time()
    run = train(photos, folder, "paper", system="consingan", device="cpu", max_size=config.max_size,
                min_size=config.min_size, iterations=config.iterations)
    seconds, model = (time.process_time() - began) / len(photos), apps.Model.open(run.path, "cpu")
    rows = []
    for name in model.names:
        own, photo = model.photo_model(name), model.photo(name)
        rows.append({**score(draw(own, count), photo), "rmse": reconstruction_rmse(reconstruct(own), photo), "seconds": seconds})
    return model, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", nargs="+", default=["china", "coffee"], help="names of bundled photos")
    parser.add_argument("--max-size", type=int, default=64)
    parser.add_argument("--min-size", type=int, default=16, help="short side of the coarsest stage")
    parser.add_argument("--iterations", type=int, default=200, help="of each stage; 2,000 are published")
    parser.add_argument("--count", type=int, default=10, help="samples of each photo that are scored")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    config = preset("paper", "consingan", max_size=options.max_size, min_size=options.min_size,
                    iterations=(options.iterations,))
    with tempfile.TemporaryDirectory() as folder:
        model, ours = side_by_side(load_examples(options.photos), config, Path(folder) / "run", options.count)
    pyramids = [[model.collection.batch([index], scale).images for scale in range(config.scale_count)]
                for index in range(len(model.names))]
    theirs = [plainly(model.photo(name), pyramid, options.iterations, options.count)
              for name, pyramid in zip(model.names, pyramids)]
    cells = [[who, *(f"{row[key]:.4f}" for key in SCORES), f"{row['seconds']:.0f}"]
             for who, row in ((SIDE_BY_SIDE, means(ours)), (PUBLISHED, means(theirs)))]
    about = (f"{', '.join(options.photos)} at {options.max_size} px, {config.scale_count} stages of {options.iterations} "
             f"iterations, {options.count} samples of each, means; seconds of the processor for each photo.")
    publish("As many iterations of ConSinGAN, side by side and one by one", describe("cpu"),
            [about, "", *table(["trained by", *SCORES.values(), "seconds"], cells)], options.out)


if __name__ == "__main__":
    main()

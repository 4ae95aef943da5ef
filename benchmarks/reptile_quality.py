"""How well a Reptile-GAN imitates digits it has seen and digits it has not, beside a class-conditional DCGAN.

    OMP_NUM_THREADS=1 python -m benchmarks.reptile_quality [--preset tiny] [--iterations 1000] [--tasks 8] [--shots 16]
                                                           [--out quality.json] [--sheet quality.png]

Both are trained on scikit-learn's digits 0 to 7 for the same processor time. To imitate a digit, the Reptile-GAN adapts to
k of its images; the cDCGAN draws the class, and for 8 and 9, which it has a label for but never saw, is tuned on the k
images for as many steps. Reported for each: the Frechet distance between the digit's images (without the k shots) and 256
samples, in the 32 features of a small classifier that is trained on all ten digits here, and the share of samples that
the classifier takes for the digit. These figures are comparable with no one else's FID.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.digits import Classifier, everything
from benchmarks.environment import describe
from benchmarks.plain_reptile import PlainCritic, PlainGenerator, PlainReptile
from benchmarks.report import table
from hyperconv.apps.imitate import DomainModel
from hyperconv.apps.sheet import contact_sheet
from hyperconv.data.domain_files import DIGITS_HELD_OUT, load_digits
from hyperconv.data.domains import Domains
from hyperconv.gan.presets import preset
from hyperconv.gan.reptile.presets import ReptileConfig
from hyperconv.gan.reptile.trainer import ReptileTrainer
from hyperconv.gan.run import Run
from hyperconv.metrics.distribution import frechet_distance, gaussian

SAMPLES = 256
Sampler = Callable[[int, Tensor], Tensor]  # (digit, shots (k, C, S, S)) -> samples (SAMPLES, C, S, S)


class ConditionalDCGAN:
    """The same nets with a label: one-hot beside the noise, and as planes beside the image (Mirza and Osindero 2014)."""

    def __init__(self, config: ReptileConfig) -> None:
        self.config = config
        wider = copy.copy(config)
        object.__setattr__(wider, "latent", config.latent + 10)
        torch.manual_seed(0)
        self.generator, self.critic = PlainGenerator(wider, 1), PlainCritic(config, 11)
        for module in (*self.generator.modules(), *self.critic.modules()):
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, 0, 0.02)
        self.adams = [
            torch.optim.Adam(net.parameters(), config.learning_rate, config.betas, fused=True)
            for net in (self.generator, self.critic)
        ]

    def step(self, images: Tensor, labels: Tensor) -> None:
        fake = self.draw(labels)
        real_score, fake_score = self.score(images, labels), self.score(fake.detach(), labels)
        self.move(1, PlainReptile.cross_entropy(real_score, 1) + PlainReptile.cross_entropy(fake_score, 0))
        self.move(0, PlainReptile.cross_entropy(self.score(fake, labels), 1))

    def move(self, player: int, loss: Tensor) -> None:
        self.adams[player].zero_grad()
        loss.backward()
        self.adams[player].step()

    def draw(self, labels: Tensor) -> Tensor:
        return self.generator(
            torch.cat([torch.randn(len(labels), self.config.latent), F.one_hot(labels, 10).float()], 1)
        )

    def score(self, images: Tensor, labels: Tensor) -> Tensor:
        planes = F.one_hot(labels, 10).float()[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return self.critic(torch.cat([images, planes], 1))[0]

    def train(self, images: Tensor, labels: Tensor, seconds: float) -> int:
        """Trains for so much processor time; the steps taken."""
        began, steps = time.process_time(), 0
        while time.process_time() - began < seconds:
            chosen = torch.randint(len(images), (self.config.batch_size,))
            self.step(images[chosen], labels[chosen])
            steps += 1
        return steps

    def imitate(self, digit: int, shots: Tensor) -> Tensor:
        own = copy.deepcopy(self)
        if str(digit) in DIGITS_HELD_OUT:
            for _ in range(self.config.inner_steps):
                chosen = torch.randint(len(shots), (self.config.batch_size,))
                own.step(shots[chosen], torch.full((self.config.batch_size,), digit))
        own.generator.eval()
        with torch.no_grad():
            return own.draw(torch.full((SAMPLES,), digit))


def judge(sampler: Sampler, digits: Domains, shots: int, classifier: Classifier, kept: dict[str, Tensor]) -> dict:
    """Frechet distance and recognised share of every digit; `kept` gets some samples of each."""
    distances, recognised = {}, {}
    for name in digits.names:
        images = digits.images(name)
        samples = sampler(int(name), images[:shots])
        kept[name] = samples[:6]
        known, drawn = (classifier.features(each) for each in (images[shots:], samples))
        distances[name] = float(frechet_distance(*gaussian(known), *gaussian(drawn)))
        recognised[name] = float((classifier.top(drawn).argmax(1) == int(name)).double().mean())
    return {"distance": distances, "recognised": recognised}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    iterations = (options.iterations,) if options.iterations else None
    config = preset(options.preset, "reptile", iterations=iterations, tasks=options.tasks)
    digits = load_digits(config.image_size)
    classifier = Classifier.trained(digits)
    seen, _ = digits.without(list(DIGITS_HELD_OUT))
    with tempfile.TemporaryDirectory() as folder:
        trainer, began = ReptileTrainer(Run.create(Path(folder) / "run", config, seen), seen), time.process_time()
        for _ in trainer.train():
            pass
        seconds = time.process_time() - began
    conditional = ConditionalDCGAN(config)
    steps = conditional.train(*everything(seen), seconds)
    model = DomainModel(trainer.gan, seen)
    samplers = {
        "Reptile-GAN": lambda digit, shots: model.adapt(shots).sample(SAMPLES),
        "Reptile-GAN, four times the steps": lambda digit, shots: model.adapt(shots, 4 * config.inner_steps).sample(
            SAMPLES
        ),
        "Reptile-GAN, not adapted": lambda digit, shots: model.adapt(shots, 0).sample(SAMPLES),
        "cDCGAN": conditional.imitate,
        "real images": lambda digit, shots: digits.images(str(digit))[options.shots :: 2],
    }
    kept: dict[str, dict[str, Tensor]] = {name: {} for name in samplers}
    results = {
        name: judge(sampler, digits, options.shots, classifier, kept[name]) for name, sampler in samplers.items()
    }
    print("\n".join(report(results)))
    print(f"{seconds:.0f} s of processor time each: {trainer.iterations} outer steps, {steps} steps of the cDCGAN")
    if options.out:
        facts = {
            "environment": describe("cpu"),
            "config": config.to_json(),
            "processor_seconds": seconds,
            "conditional_steps": steps,
            "results": results,
        }
        options.out.write_text(json.dumps(facts, indent=1) + "\n")
    if options.sheet:
        chosen = ("real images", "Reptile-GAN", "cDCGAN")
        rows = [(name, [image for method in chosen for image in (*kept[method][name], None)]) for name in digits.names]
        contact_sheet(rows, [heading for method in chosen for heading in (method, *[""] * 6)], options.sheet)


def report(results: dict) -> list[str]:
    """Means over the digits seen and not seen."""
    rows = []
    for method, result in results.items():
        row = [method]
        for measure in ("distance", "recognised"):
            for unseen in (False, True):
                values = [v for name, v in result[measure].items() if (name in DIGITS_HELD_OUT) == unseen]
                row.append(f"{sum(values) / len(values):.3g}")
        rows.append(row)
    header = ["", "distance, 0 to 7", "distance, 8 and 9 (unseen)", "recognised, 0 to 7", "recognised, 8 and 9"]
    return table(header, rows)


if __name__ == "__main__":
    main()

"""Few-shot transfer with and without a Data Instance Prior: digits 0 to 7, then a few images of 8 and 9.

    OMP_NUM_THREADS=1 python -m benchmarks.dip_quality [--preset tiny] [--iterations 700] [--steps 250] [--shots 25]
                                                       [--out quality.json] [--sheet quality.jpg]

A GAN is trained on scikit-learn's digits 0 to 7, with the prior and without it (a constant in place of the features:
plain fine-tuning, as TransferGAN). Each goes on from there on `shots` images of 8 and as many of 9, whole or with the lower
half of the discriminator at rest (FreezeD), with and without DiffAugment; and with the prior from nothing. Reported of 512
samples beside the images of 8 and 9 that none of them has seen, in the 32 features of a small classifier that is trained on
all ten digits here: Frechet distance, precision and recall (k = 3), density and coverage (k = 5), and the share taken for
an 8 or a 9. These figures are comparable with no one else's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.digits import Classifier
from benchmarks.environment import describe
from benchmarks.report import table
from hyperconv import apps
from hyperconv.apps.instances import InstanceModel
from hyperconv.apps.sheet import contact_sheet
from hyperconv.data.domain_files import load_digits
from hyperconv.data.domains import Domains
from hyperconv.data.images import to_uint8
from hyperconv.gan.presets import preset
from hyperconv.metrics.distribution import distribution_scores

SAMPLES, SHOWN = 512, 12
NEW = ("8", "9")
PLAIN, PRIOR = "fine-tuned, no prior", "instance prior"
DIFF_AUGMENT = "color,translation,cutout"
ARMS = {  # (trained before with, settings of the transfer)
    PLAIN: ("none", {}),
    "FreezeD, no prior": ("none", {"transfer": "freeze-d"}),
    f"{PLAIN}, DiffAugment": ("none", {"augment": DIFF_AUGMENT}),
    "FreezeD, no prior, DiffAugment": ("none", {"transfer": "freeze-d", "augment": DIFF_AUGMENT}),
    PRIOR: ("instance", {}),
    f"{PRIOR}, FreezeD": ("instance", {"transfer": "freeze-d"}),
    f"{PRIOR}, DiffAugment": ("instance", {"augment": DIFF_AUGMENT}),
    f"{PRIOR}, FreezeD, DiffAugment": ("instance", {"transfer": "freeze-d", "augment": DIFF_AUGMENT}),
}
SCRATCH = f"{PRIOR}, from nothing"


def parted(digits: Domains, shots: int, seed: int) -> tuple[Domains, Domains, Tensor]:
    """The old digits, a few images of the new ones at random (they lie sorted by their writers), and the rest (N, C, S, S)."""
    old, new = digits.without(list(NEW))
    source = torch.Generator().manual_seed(seed)
    new = {name: images[torch.randperm(len(images), generator=source)] for name, images in new.items()}
    few = Domains({name: to_uint8(images[:shots]) for name, images in new.items()})
    return old, few, torch.cat([images[shots:] for images in new.values()])


def judge(samples: Tensor, unseen: Tensor, classifier: Classifier) -> dict[str, float]:
    drawn, real = classifier.features(samples), classifier.features(unseen)
    wanted = torch.tensor([int(name) for name in NEW])
    recognised = torch.isin(classifier.top(drawn).argmax(1), wanted).double().mean()
    return {**distribution_scores(drawn, real)._asdict(), "recognised": float(recognised)}


def measure(options: argparse.Namespace, folder: Path) -> tuple[dict, dict[str, float], dict[str, Tensor]]:
    """Scores of every arm, processor seconds of every training, and some samples of each arm."""
    config = preset(options.preset, "dip")
    digits = load_digits(config.image_size)
    classifier = Classifier.trained(digits)
    old, few, unseen = parted(digits, options.shots, options.seed)
    results, seconds, kept = {}, {}, {}

    def train(name: str, data: Domains, preset_name: str | None = options.preset, **settings) -> InstanceModel:
        began = time.process_time()
        run = apps.train(data, folder / name, preset_name, system="dip", device="cpu", seed=options.seed, **settings)
        seconds[name] = time.process_time() - began
        return InstanceModel.open(run.path, "cpu")

    def score(name: str, samples: Tensor) -> None:
        results[name], kept[name] = judge(samples, unseen, classifier), samples[:SHOWN]
        print(name, {measure: round(value, 3) for measure, value in results[name].items()}, flush=True)

    shots = torch.cat([few.images(name) for name in NEW])
    score("the few images themselves", shots[torch.randperm(len(shots))])
    score("half of the unseen images", unseen[::2][torch.randperm(len(unseen[::2]))])
    for prior in ("none", "instance"):
        train(prior, old, prior=prior, iterations=(options.iterations,))
    for name, (prior, settings) in ARMS.items():
        model = train(name, few, None, start_from=folder / prior, iterations=(options.steps,), **settings)
        score(name, apps.sample_instances(model, SAMPLES))
        if name in (PRIOR, f"{PRIOR}, DiffAugment"):
            score(f"{name}, mixes of two", apps.sample_instances(model, SAMPLES, "mixed"))
    score(SCRATCH, apps.sample_instances(train(SCRATCH, few, iterations=(options.steps,)), SAMPLES))
    return results, seconds, kept


def report(results: dict[str, dict[str, float]]) -> list[str]:
    measures = {
        "frechet": "Frechet distance",
        "precision": "precision",
        "recall": "recall",
        "density": "density",
        "coverage": "coverage",
        "recognised": "taken for 8 or 9",
    }
    rows = [[name, *(f"{scores[key]:.3g}" for key in measures)] for name, scores in results.items()]
    return table(["", *measures.values()], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--iterations", type=int, default=700, help="before, on the old digits")
    parser.add_argument("--steps", type=int, default=250, help="on the new ones")
    parser.add_argument("--shots", type=int, default=25, help="images of each new digit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results, seconds, kept = measure(options, Path(folder))
    print("\n".join(report(results)))
    if options.out:
        settings = {name: value for name, value in vars(options).items() if name not in ("out", "sheet")}
        facts = {"environment": describe("cpu"), "options": settings, "processor_seconds": seconds, "results": results}
        options.out.write_text(json.dumps(facts, indent=1) + "\n")
    if options.sheet:
        sheet = contact_sheet([(name.split(", "), list(images)) for name, images in kept.items()])
        Image.fromarray(to_uint8(sheet).permute(1, 2, 0).numpy()).save(options.sheet, quality=80)


if __name__ == "__main__":
    main()

"""A frozen instance prior in the place of the meta-GAN's trained embedding: photos it trained on, and photos it never saw.

    OMP_NUM_THREADS=1 python -m benchmarks.prior_embedding --out REPORT [--budget 0.3] [--backbone-weights FILE]

Every arm is a preset with another embedding, of the same seed, steps and photos: eight of those that ship inside
scikit-image and scikit-learn, and two held out. --backbone-weights, a published ResNet or VGG16, adds the prior it gives.
What takes longer than --minutes stops at a checkpoint, with exit code 3: the same command goes on. REPORT gets
prior_embedding.json and .md, and sheets of both sets of photos for each arm.
"""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from benchmarks.report import table
from benchmarks.training import (
    SCORES,
    Deadline,
    machine,
    means,
    parser,
    scaled,
    scores_of_all,
    seconds_of,
    train,
    unfinished,
)
from hyperconv.apps.model import Model
from hyperconv.apps.sample import write_samples
from hyperconv.data.examples import HELD_OUT, example_names, load_examples
from hyperconv.gan.presets import Config, preset
from hyperconv.nn.instance_features import InstanceFeatures

ARMS = {"contrastive prior, frozen": "contrastive", "small net, trained": "conv", "ResNet-18, trained": "resnet18"}
SETS = ("training", "held out")


def run_arm(folder: Path, config: Config, options: Namespace, deadline: Deadline) -> dict | None:
    """Means of an arm's scores by set of photos, its seconds and trained numbers; None where it is not finished."""
    file = folder / "scores.json"
    if file.is_file():
        return json.loads(file.read_text())
    photos = load_examples([name for name in example_names() if name not in HELD_OUT])
    if not train(folder / "run", photos, config, deadline, device=options.device):
        return None
    seen = Model.open(folder / "run", options.device)
    found = {
        "embedding": config.embedding,
        "seconds": seconds_of(folder / "run"),
        "embedding_parameters": sum(p.numel() for p in seen.system.generator.embedding.parameters()),
    }
    for which, model in zip(SETS, (seen, seen.with_photos(load_examples(HELD_OUT)))):
        write_samples(model, model.names, folder / which.replace(" ", "_"), 4, force=True)
        found[which] = means(scores_of_all(model, options.count).values())
    file.write_text(json.dumps(found) + "\n")
    return found


def report(out: Path, about: str, found: dict[str, dict]) -> str:
    header = [
        "embedding",
        *(f"{title}, {which}" for title in SCORES.values() for which in SETS),
        "its trained numbers",
        "seconds",
    ]
    cells = [
        [
            name,
            *(f"{arm[which][key]:.4f}" for key in SCORES for which in SETS),
            f"{arm['embedding_parameters'] / 1e6:.2f} M",
            f"{arm['seconds']:.0f}",
        ]
        for name, arm in found.items()
    ]
    page = "\n".join(["# The meta-GAN on a frozen instance prior", "", about, "", *table(header, cells), ""])
    (out / "prior_embedding.md").write_text(page)
    (out / "prior_embedding.json").write_text(json.dumps({"about": about, "arms": found}, indent=1) + "\n")
    return page


def main() -> None:
    arguments = parser(__doc__, budget=0.3, count=5)
    arguments.add_argument("--backbone-weights", type=Path, help="a published ResNet's or VGG16's state_dict")
    options = arguments.parse_args()
    config = scaled(preset(options.preset, seed=options.seed), options.budget)
    deadline, found = Deadline(options.minutes), {}
    arms = {name: replace(config, embedding=embedding) for name, embedding in ARMS.items()}
    if options.backbone_weights:
        kind = InstanceFeatures.from_file(options.backbone_weights).kind
        arms[f"{kind} prior, frozen"] = replace(
            config, embedding=f"frozen-{kind}", backbone_weights=str(options.backbone_weights)
        )
    about = (
        f"Preset {options.preset} at {config.max_size} px with {options.budget:g} of its steps, {list(config.iterations)}; "
        f"{len(example_names()) - len(HELD_OUT)} photos trained on, {len(HELD_OUT)} held out, {options.count} samples of "
        f"each, seed {options.seed}. {machine(options.device)}"
    )
    for name, changed in arms.items():
        arm = run_arm(options.out / changed.embedding, changed, options, deadline)
        if arm is None:
            unfinished()
        found[name] = arm
        page = report(options.out, about, found)
    print(page)


if __name__ == "__main__":
    main()

"""Few-shot transfer: a run on few images of another kind that starts from the weights of a trained one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hyperconv.data.domains import Domains
from hyperconv.errors import InputError
from hyperconv.gan.dip.features import keep_features, open_features
from hyperconv.gan.dip.presets import DipConfig
from hyperconv.gan.run import Run

MAY_DIFFER = (
    "iterations",
    "batch_size",
    "critic_steps",
    "learning_rate",
    "critic_pace",
    "betas",
    "clip",
    "average",
    "augment",
    "transfer",
    "neighbours",
    "seed",
)


def config_from(source: Run, **changes: Any) -> DipConfig:
    """The configuration of a run that starts from `source`: with its nets. InputError for a change to these."""
    if source.config.system != "dip":
        raise source.is_of_another_system()
    if fixed := sorted(set(changes) - set(MAY_DIFFER)):
        raise InputError(
            f"a run that starts from {source.path} has its nets and features: leave out {', '.join(fixed)}"
        )
    return replace(source.config, **{"transfer": "all", **changes, "started_from": str(source.path)})


def start_from(source: Run, run: Run, domains: Domains) -> None:
    """Give a new run the trained weights of `source`, as a checkpoint of step 0, and the net its features are of."""
    tensors, _ = source.load("model")
    extractor, _ = open_features(source, source.domains("dip"))
    if extractor is not None:
        keep_features(run, extractor, domains)
    for name in ("model", "training_state"):
        run.save(name, tensors, {"scale": 0, "step": 0})

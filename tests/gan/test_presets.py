import json

import pytest
import torch

from hyperconv.errors import InputError
from hyperconv.gan.meta import MetaGAN
from hyperconv.gan.presets import PRESETS, Config, preset


def test_the_paper_preset_is_the_published_one():
    config = preset("paper")
    assert (config.scale_count, config.hidden, config.depth, config.negative_slope) == (7, 64, 5, 0.02)
    assert (config.embedding, config.features, config.embedding_size) == ("resnet34", 512, 128)
    assert (config.learning_rate, config.betas, config.batch_size) == (5e-5, (0.5, 0.999), 16)
    assert (config.penalty_weight, config.reconstruction_weight, config.clip) == (0.1, 50.0, 1.0)
    assert (config.decay_at, config.decay) == (0.8, 0.1)
    assert (config.first_scale_sees, config.variants, config.head_init) == ("embedding", 0, "linear")
    assert [config.iterations_at(scale) for scale in range(7)] == [5000] * 7
    assert [tuple(size) for size in config.pyramid().sizes(188, 250)][:3] == [(19, 26), (27, 37), (40, 54)]


def test_the_paper_preset_has_the_published_parameter_counts():
    """22.06 M backbone, 58.64 M per generator scale, 58.05 M for the critic (research, measured on the public code)."""
    with torch.device("meta"):
        system = MetaGAN(preset("paper"), 3, 26)

    def millions(module):
        return sum(parameter.numel() for parameter in module.parameters()) / 1e6

    assert millions(system.generator.heads[0]) == pytest.approx(58.64, abs=0.01)
    assert millions(system.discriminator.heads[0]) == pytest.approx(58.05, abs=0.01)
    assert millions(system.generator.embedding) == pytest.approx(21.55, abs=0.02)  # without the unused classifier


@pytest.mark.parametrize("system, name", [(system, name) for system, named in PRESETS.items() for name in named])
def test_a_configuration_survives_json(system, name):
    config = preset(name, system, seed=3)
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "changes",
    [
        {"max_size": 0},
        {"head_init": "magic"},
        {"learning_rate": float("nan")},
        {"iterations": ()},
        {"penalty_norm": "none"},
        {"hidden": 1.5},
        {"iterations": ("many",)},
        {"decay": "slow"},
        {"variants": -1},
        {"variants_above": -1},
        {"head_rank": 0},
        {"first_scale_sees": "all"},
        {"train_depth": 0},
        {"widen_every": 0},
        {"draws": 2},
        {"average": 1.0},
        {"clip": -1.0},
    ],
)
def test_bad_settings_are_refused_by_name(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        preset("tiny", **changes)


@pytest.mark.parametrize("system", ["reptile", "dip"])
@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 24},
        {"image_size": 4},
        {"iterations": (5, 5)},
        {"iterations": ()},
        {"hidden": 0},
        {"learning_rate": float("inf")},
    ],
)
def test_bad_settings_of_systems_of_domains(system, changes):
    with pytest.raises(InputError, match=f"{next(iter(changes))} is"):
        preset("tiny", system, **changes)


def test_the_bounds_of_a_number_are_told():
    with pytest.raises(InputError, match="^hidden is 0: it must be a finite number of at least 1$"):
        preset("tiny", hidden=0)
    with pytest.raises(InputError, match="^average is 1.0: it must be a finite number of at least 0 and below 1$"):
        preset("tiny", average=1.0)


def test_unknown_preset_and_unknown_entry():
    with pytest.raises(InputError, match="tiny"):
        preset("huge")
    with pytest.raises(InputError, match="consingan"):
        preset("tiny", "dcgan")


def test_singan_widens_every_four_scales_up_to_128():
    config = preset("paper", "singan")
    assert [config.hidden_at(scale) for scale in range(14)] == [32] * 4 + [64] * 4 + [128] * 6
    assert preset("paper").hidden_at(6) == 64
    with pytest.raises(InputError, match="flavour"):
        Config.from_json({"flavour": 1})

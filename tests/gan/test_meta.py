from dataclasses import replace

import pytest
import torch

from hyperconv.errors import InputError
from hyperconv.gan.meta import MetaGAN
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run, load_system
from hyperconv.gan.trainer import Trainer
from hyperconv.nn.embedding import InstanceEmbedding

SIDE = 16


@pytest.fixture
def system(config):
    return MetaGAN(replace(config, first_scale_sees="embedding and thumbnail"), 3, SIDE)


@pytest.fixture
def photos():
    return torch.rand(2, 3, 32, 32) * 2 - 1


@pytest.fixture
def coarsest():
    return torch.rand(2, 3, 12, SIDE) * 2 - 1


def test_contexts_hold_the_thumbnail_in_the_corner_of_a_square(system, config, photos, coarsest):
    contexts = system.generator.embed(photos, coarsest)
    assert contexts.shape == (2, config.features + 3 * SIDE**2)
    thumbnails = contexts[:, config.features :].view(2, 3, SIDE, SIDE)
    assert torch.equal(thumbnails[:, :, :12], coarsest)
    assert not thumbnails[:, :, 12:].any()
    torch.testing.assert_close(system.generator.normalise(contexts), contexts)


def test_the_thumbnail_says_nothing_at_the_start_and_then_something_to_the_last_layer_only(system, photos, coarsest):
    generator = system.generator
    contexts, others = generator.embed(photos, coarsest), generator.embed(photos, -coarsest)
    assert torch.equal(generator.weights(contexts, 0).flat, generator.weights(others, 0).flat)
    torch.nn.init.normal_(generator.thumbnail_head.projection.weight)
    system.grow(2)
    one, other = generator.weights(contexts, 0), generator.weights(others, 0)
    changed = [name for name in one if not torch.equal(one[name], other[name])]
    assert changed == ["4.weight", "4.bias"]
    assert torch.equal(generator.weights(contexts, 1).flat, generator.weights(others, 1).flat)


def test_the_thumbnail_trains_with_the_first_scale(system):
    system.grow(2)
    own = set(system.generator.thumbnail_head.parameters())
    assert own <= set(system.generator.parameters_at(0))
    assert not own & set(system.generator.parameters_at(1))


def test_without_thumbnails_contexts_are_embeddings(config, photos, coarsest):
    system = MetaGAN(replace(config, first_scale_sees="embedding"), 3, SIDE)
    contexts = system.generator.embed(photos)
    assert contexts.shape == (2, config.features)
    assert torch.equal(contexts, system.generator.embed(photos, coarsest))
    assert not any("thumbnail" in name for name in system.state_dict())


@pytest.fixture
def with_prior(config, monkeypatch):
    monkeypatch.setattr(InstanceEmbedding, "STEPS", 3)
    return replace(config, embedding="contrastive", iterations=(2,))


def test_both_players_see_one_instance_prior_that_is_learned_of_the_photos_and_never_trains(
    with_prior, collection, tmp_path
):
    trainer = Trainer(Run.create(tmp_path / "run", with_prior, collection), collection)
    generator, discriminator = trainer.system.generator.embedding, trainer.system.discriminator.embedding
    assert generator.prior is discriminator.prior and generator.projection is not discriminator.projection
    assert generator.prior.instance.name.endswith("3 steps on 3 images of 32 px")
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    for _ in trainer.train():
        pass
    changed = [key for key, value in generator.state_dict().items() if not torch.equal(value, before[key])]
    assert changed == ["projection.weight", "projection.bias"]
    own = {id(parameter) for player in trainer.players for parameter in player.parameters}
    assert id(discriminator.projection.weight) in own
    loaded, *_ = load_system(Run.open(tmp_path / "run"), collection)
    everyone = torch.arange(3)
    assert torch.equal(loaded.contexts(collection, everyone), trainer.system.contexts(collection, everyone))


def test_a_frozen_published_network_needs_its_file(tmp_path):
    with pytest.raises(
        InputError, match="frozen-resnet18 is that of a published network: name its file, --backbone-weights"
    ):
        preset("tiny", embedding="frozen-resnet18")
    assert preset("tiny", embedding="frozen-resnet18", backbone_weights="some.pth").embedding == "frozen-resnet18"

"""Single-image GANs side by side: every photo learns what it would learn alone."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from hyperconv.data import canvas
from hyperconv.data.canvas import Grid
from hyperconv.data.collection import Collection
from hyperconv.errors import TrainingDiverged
from hyperconv.gan.generator import Generator
from hyperconv.gan.growing import GrowingGenerator
from hyperconv.gan.parts import cut
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.single import SingleGANs
from hyperconv.gan.step import Step
from hyperconv.gan.template import ConvStack
from hyperconv.gan.trainer import Trainer
from hyperconv.nn.layout import WeightSet
from tests.gan.conftest import picture

SIZES = [(30, 40), (40, 26), (32, 32)]
PHOTOS = [picture(index, *size) for index, size in enumerate(SIZES)]
KINDS = {
    "consingan": ("consingan", "tiny", {}),
    "harmonize": ("consingan", "tiny-harmonize", {"min_size": 16}),
    "edit": ("consingan", "tiny-edit", {}),
    "singan": ("singan", "tiny", {"widen_every": 1}),
    "animation": ("singan", "paper-animate", {"widen_every": None}),
}


def config_of(kind, **changes):
    system, name, special = KINDS[kind]
    return preset(
        name,
        system,
        **{"max_size": 40, "min_size": 14, "scale_count": 3, "hidden": 6, "iterations": (3,), **special, **changes},
    )


def trained(path, config, photos, scales=2, steps=2):
    """A trainer after some steps of each of some scales."""
    trainer = Trainer(
        Run.create(path, config, Collection(photos, config.pyramid())), Collection(photos, config.pyramid())
    )
    for scale in range(scales):
        if scale:
            trainer.scale, trainer.step = scale, 0
            trainer.begin_scale()
        for trainer.step in range(steps):
            trainer.take_step()
    return trainer


def weights_of(trainer, photo):
    return {name: value[photo] for name, value in trainer.system.named_parameters()}


@pytest.fixture
def in_float64(monkeypatch):
    """All that is computed: in float32, one activation on whose side rounding decides leads two trainings apart."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_learns_in_a_batch_what_it_learns_alone(tmp_path, in_float64, kind):
    config, photos = config_of(kind), [picture(index, *size) for index, size in enumerate(SIZES)]
    together = trained(tmp_path / "all", config, photos)
    assert len(together.compute.compute.parts) > 1
    for index, photo in enumerate(photos):
        alone = trained(tmp_path / f"{index}", config, [photo])
        torch.testing.assert_close(together.amplitudes[index], alone.amplitudes[0], rtol=1e-6, atol=1e-9)
        for name, value in weights_of(alone, 0).items():
            assert value.dtype == torch.float64
            torch.testing.assert_close(
                weights_of(together, index)[name], value, rtol=0, atol=0.02 * config.learning_rate
            )
        one, other = together.photo_model(torch.tensor([index])), alone.photo_model(torch.tensor([0]))
        torch.testing.assert_close(one.reconstruct(), other.reconstruct(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["consingan", "singan"])
def test_parts_of_the_photos_after_one_another_learn_the_same(tmp_path, kind):
    config = config_of(kind, iterations=(2,))
    photos = [replace(picture(i, 30, 40), name=f"wide{i}") for i in range(3)]
    results = []
    for at_a_time in (3, 2):
        trainer = trained(tmp_path / f"{at_a_time}", config, photos, scales=1, steps=0)
        parts = cut(3, at_a_time, trainer.collection.sizes[:1], trainer.device)
        assert len(parts) == (1 if at_a_time == 3 else 2)
        step = Step(trainer.system, trainer.players, parts, one_by_one=at_a_time < 3)
        losses = [step(trainer.draws.step(number)) for number in range(2)]
        results.append((losses, dict(trainer.system.named_parameters())))
    for one, other in zip(results[0][0], results[1][0]):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    for name, value in results[0][1].items():
        torch.testing.assert_close(value, results[1][1][name], rtol=1e-2, atol=2e-4)


def test_published_nets_have_the_published_number_of_parameters():
    template = GrowingGenerator(3)
    bodies = template.layout(0).size + 5 * template.layout(1).size
    assert bodies + template.tail.layout.size == 668_227
    system = preset("paper", "consingan")
    collection = Collection([picture(0, 60, 80)], replace(system, max_size=80, scale_count=2).pyramid())
    assert sum(p.numel() for p in SingleGANs(system, collection).discriminator.parameters()) == 113_153


def test_the_newest_scales_train_each_at_its_pace(tmp_path):
    config = config_of("consingan", scale_count=5, train_depth=3)
    system = SingleGANs(config, Collection(PHOTOS[:1], config.pyramid()))
    system.grow(5)
    generators = system.groups()["generator"]
    assert [round(group.pace, 6) for group in generators] == [0.01, 0.1, 1.0, 1.0]
    assert generators[2].parameters[0] is system.generators[4].flat and generators[3].parameters[0] is system.tail.flat
    assert [source.flat.requires_grad for source in system.generators] == [False, False, True, True, True]
    system = SingleGANs(config, Collection(PHOTOS[:1], config.pyramid()))
    assert [group.pace for group in system.groups()["generator"]] == [1.0, 1.0]


def test_a_new_scale_starts_as_the_last_one_unless_it_is_wider():
    config = config_of("consingan")
    system = SingleGANs(config, Collection(PHOTOS[:2], config.pyramid()))
    system.grow(2)
    first = WeightSet(system.generators[0].layout, system.generators[0].flat)
    assert torch.equal(system.generators[1].weights()["0.weight"], first["body.0.weight"])
    config = config_of("singan", scale_count=4, widen_every=2)
    system = SingleGANs(config, Collection(PHOTOS[:2], config.pyramid()))
    critic = system.discriminator
    system.grow(2)
    assert torch.equal(system.generators[1].flat, system.generators[0].flat) and system.discriminator is critic
    system.grow(3)
    assert system.generators[2].weights()["1.weight"].shape == (2, 12, 12, 3, 3)
    assert system.discriminator.weights()["1.weight"].shape == (2, 12, 12, 3, 3)


def test_a_growing_generator_is_the_published_network():
    """Beside the same network written with padding and interpolation of one image."""
    torch.manual_seed(1)
    template = GrowingGenerator(3, 5, depth=2, negative_slope=0.1)
    first = WeightSet(template.layout(0), 0.3 * torch.randn(1, template.layout(0).size))
    second = WeightSet(template.layout(1), 0.3 * torch.randn(1, template.layout(1).size))
    tail = WeightSet(template.tail.layout, 0.3 * torch.randn(1, template.tail.layout.size))

    def conv(x, weights, name):
        return F.leaky_relu(F.conv2d(x, weights[f"{name}.weight"][0], weights[f"{name}.bias"][0]), 0.1)

    def enlarged(x, height, width):
        return F.interpolate(x, (height, width), mode="bicubic", align_corners=True)

    z, noise = torch.randn(1, 3, 12, 15), torch.randn(1, 5, 20 + 4, 25 + 4)
    features = F.pad(enlarged(conv(F.pad(z, [1] * 4), first, "head.0"), 14, 17), [1] * 4)
    features = conv(conv(features, first, "body.0"), first, "body.1")
    grown = conv(conv(enlarged(features, 24, 29) + noise, second, "0"), second, "1") + enlarged(features, 20, 25)
    wanted = F.conv2d(F.pad(grown, [1] * 4), tail["0.weight"][0], tail["0.bias"][0]).tanh()

    small, large = (Grid(torch.tensor([size]), size) for size in ((12, 15), (20, 25)))
    carried = template.next(template.first(z, small, first), small, large, noise, second, 1)
    torch.testing.assert_close(template.image(carried, large, tail), wanted, rtol=1e-4, atol=1e-5)


def test_norm_is_batch_norm_of_one_image_on_its_own_pixels():
    torch.manual_seed(0)
    stack = ConvStack(3, 4, 2, depth=2, norm=True)
    weights = WeightSet(stack.layout, torch.randn(2, stack.layout.size))
    sizes = torch.tensor([[9, 12], [11, 8]])
    images, valid = canvas.stack([torch.randn(3, *size) for size in (sizes + 4).tolist()])
    together = canvas.crop(stack(images, weights, sizes), sizes)
    for index, (own, size) in enumerate(zip(canvas.crop(images, valid), sizes)):
        mine = weights.select(index)
        x = F.conv2d(own[None], mine["0.weight"][0])
        x = F.leaky_relu(F.batch_norm(x, None, None, mine["0.gain"][0], mine["0.shift"][0], training=True), 0.02)
        x = F.conv2d(x, mine["1.weight"][0], mine["1.bias"][0])
        torch.testing.assert_close(together[index], x[0], rtol=1e-3, atol=1e-4)


def test_a_critic_keeps_the_strength_of_its_signal_from_the_start_or_loses_it_as_published():
    stack, z = ConvStack(3, 64, 1, negative_slope=0.05), torch.randn(4, 3, 40, 40)
    he, published = (
        stack(z, WeightSet(stack.layout, stack.initial(torch.Generator().manual_seed(0), he)[None])).std()
        for he in (True, False)
    )
    assert 0.3 < he < 3 and published < 0.03
    config = config_of("consingan", critic_init="he", hidden=32)
    system = SingleGANs(config, Collection(PHOTOS[:1], config.pyramid()))
    weight = system.discriminator.weights()["1.weight"].detach()
    assert weight.std() == pytest.approx((2 / 1.0025 / (32 * 9)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    "template",
    [
        Generator(3, 6, norm=True, resampling="cubic", noise_on_padding=False),
        GrowingGenerator(3, 6, norm=True, noisy_borders=False),
    ],
    ids=["singan", "consingan"],
)
def test_a_plain_image_looks_the_same_at_every_size(template):
    """Where borders are zeros, and norms look at them, a larger image has more inside for the same border."""
    torch.manual_seed(2)
    weights = WeightSet(template.layout(1), 3 * template.initial(1, torch.Generator().manual_seed(3))[None])
    trained, larger = torch.tensor([[24, 26]]), torch.tensor([[40, 75]])
    colour = torch.randn(1, 3 if template.carries_images else 6, 1, 1)

    def drawn(sizes, as_trained):
        grid = Grid(sizes, tuple(sizes[0].tolist()), as_trained)
        return template.next(colour.expand(-1, -1, *grid.extent), grid, grid, None, weights, 1)[0]

    small, large, naive = drawn(trained, None), drawn(larger, trained), drawn(larger, None)
    for image, same in ((large, True), (naive, False)):
        pairs = (
            (image[:, 20, 37], small[:, 12, 13]),
            (image[:, :12, 37], small[:, :12, 13]),
            (image[:, 20, -12:], small[:, 12, -12:]),
            (image[:, :12, :12], small[:, :12, :12]),
        )
        assert all(torch.allclose(*pair, atol=1e-4) for pair in pairs) == same


@pytest.mark.parametrize("kind", ["consingan", "singan"])
def test_a_photo_that_diverges_takes_no_other_with_it(tmp_path, kind):
    config = config_of(kind, iterations=(20,))
    trainer = trained(tmp_path / "run", config, PHOTOS, scales=1, steps=0)
    before = trainer.system.generators[0].flat.detach().clone()
    trainer.take_step()
    with torch.no_grad():
        trainer.system.generators[0].flat[1] = torch.nan
    losses = trainer.take_step()
    assert not losses["reconstruction"][1].isfinite() and losses["reconstruction"][[0, 2]].isfinite().all()
    _, remarks = trainer.log(losses)
    assert len(remarks) == 1 and "picture1 diverged" in remarks[0]
    trainer.take_step()
    assert torch.equal(trainer.system.generators[0].flat[1], before[1])
    trainer.save()
    resumed = Trainer(Run.open(tmp_path / "run"), trainer.collection)
    assert resumed.awake.tolist() == [1, 0, 1]
    resumed.take_step()
    assert torch.equal(resumed.system.generators[0].flat[1], before[1])
    assert not torch.equal(resumed.system.generators[0].flat[0], trainer.system.generators[0].flat[0])


def test_where_every_photo_diverges_training_ends(tmp_path):
    trainer = trained(tmp_path / "run", config_of("singan", iterations=(20,)), PHOTOS, scales=1, steps=0)
    with torch.no_grad():
        trainer.system.generators[0].flat.fill_(torch.nan)
    with pytest.raises(TrainingDiverged, match="at scale 1, step 0 .every one of 3 photos.: nothing was saved yet"):
        trainer.log(trainer.take_step())


@pytest.mark.parametrize("kind", ["consingan", "singan"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, kind):
    config = config_of(kind, scale_count=2, iterations=(6,))
    collection = Collection(PHOTOS[:2], config.pyramid())
    whole = Trainer(Run.create(tmp_path / "a", config, collection), collection, checkpoint_every=4)
    for _ in whole.train():
        pass
    stopped = Trainer(Run.create(tmp_path / "b", config, collection), collection, checkpoint_every=4)
    for progress in stopped.train():
        if (progress.scale, progress.step) == (1, 5):
            break
    resumed = Trainer(Run.open(tmp_path / "b"), collection, checkpoint_every=4)
    assert (resumed.scale, resumed.step) == (1, 4)
    for _ in resumed.train():
        pass
    for one, other in zip(whole.system.state_dict().values(), resumed.system.state_dict().values(), strict=True):
        assert torch.equal(one, other)

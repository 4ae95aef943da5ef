"""Training: the run folder, resuming, seeds, transfer, and that the prior is learned."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from hyperconv.data.domains import Domains
from hyperconv.errors import InputError, TrainingDiverged
from hyperconv.gan.dip.instances import Instances
from hyperconv.gan.dip.presets import DipConfig
from hyperconv.gan.dip.trainer import DipTrainer
from hyperconv.gan.dip.transfer import config_from, start_from
from hyperconv.gan.run import Run
from tests.gan.dip.conftest import KINDS


def train(path, config, domains, **options):
    trainer = DipTrainer(Run.create(path, config, domains), domains, **options)
    return list(trainer.train())


def same(one, other):
    one, other = load_file(one), load_file(other)
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, make, digits, kind):
    config = make(kind, augment="color,translation,cutout", neighbours=3)
    whole = train(tmp_path / "whole", config, digits(), checkpoint_every=5)
    trainer = DipTrainer(Run.create(tmp_path / "cut", config, digits()), digits(), checkpoint_every=5)
    for progress in trainer.train():
        if progress.step == 11:
            break
    run = Run.open(tmp_path / "cut")
    assert run.checkpoint() == (0, 10)
    again = list(DipTrainer(run, run.domains("dip"), checkpoint_every=5).train())
    assert [progress.step for progress in again] == [11, 12] and len(whole) == 12
    for name in ("model", "training_state", "features"):
        assert same(*(tmp_path / folder / f"{name}.safetensors" for folder in ("whole", "cut")))
    (record,) = map(json.loads, (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines())
    assert record["step"] == 10 and {"discriminator", "generator", "seconds"} < record.keys()


def test_seeds(tmp_path, make, digits):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tmp_path / name, make(seed=seed, iterations=(2,)), digits())
    files = [tmp_path / name / "model.safetensors" for name in "abc"]
    assert same(*files[:2]) and not same(*files[1:])


def test_divergence_keeps_the_last_good_checkpoint(tmp_path, make, digits):
    trainer = DipTrainer(Run.create(tmp_path / "run", make(), digits()), digits(), checkpoint_every=5)
    with pytest.raises(TrainingDiverged, match=r"at scale 1, step 10 .*: go on from .* --learning-rate lower than"):
        for progress in trainer.train():
            if progress.step == 6:
                trainer.gan.generator.first.bias.data.fill_(float("nan"))
    assert Run.open(tmp_path / "run").checkpoint() == (0, 5)


def test_a_loss_that_will_not_come_back(tmp_path, make, digits):
    trainer = DipTrainer(Run.create(tmp_path / "run", make(), digits()), digits())
    with pytest.raises(TrainingDiverged, match=r"at scale 1, step 0 .generator is 2e\+06.: nothing was saved yet"):
        trainer.log({"discriminator": torch.ones(2), "generator": torch.tensor(2e6)})


def test_a_checkpoint_of_another_shape(tmp_path, make, digits):
    train(tmp_path / "run", make(iterations=(1,)), digits())
    run = Run.open(tmp_path / "run")
    with pytest.raises(InputError, match="does not fit config.json.*should have shape"):
        DipTrainer(Run(run.path, replace(run.config, hidden=4)), run.domains("dip"))


def test_without_the_prior_features_are_a_constant(tmp_path, make, digits):
    trainer = DipTrainer(Run.create(tmp_path / "run", make(prior="none", iterations=(2,)), digits()), digits())
    list(trainer.train())
    assert trainer.extractor is None and torch.equal(trainer.instances.features, torch.ones(50, 1))
    assert not (tmp_path / "run" / "features.safetensors").exists()


def test_the_real_image_is_the_instance_or_a_neighbour(digits):
    domains = digits()
    features = F.normalize(torch.randn(50, 4), dim=1)
    drawn = Instances(domains, features).draw(40, torch.Generator().manual_seed(0))
    for real, prior in zip(*drawn):
        (place,) = (features == prior).all(1).nonzero()[:, 0].tolist()
        assert torch.equal(real, domains.at(torch.tensor([place]))[0])
    near = Instances(domains, features, neighbours=4)
    seen = set()
    for real, prior in zip(*near.draw(200, torch.Generator().manual_seed(0))):
        nearest = (features @ prior).topk(4).indices
        ranks = [rank for rank, image in enumerate(domains.at(nearest)) if torch.equal(image, real)]
        assert ranks
        seen.update(ranks)
    assert seen == {0, 1, 2, 3}


def test_instances_have_names(digits):
    instances = Instances(digits(), torch.ones(50, 1))
    assert [instances.name(place) for place in (0, 29, 30, 49)] == ["0:1", "0:30", "1:1", "1:20"]
    assert all(instances.find(instances.name(place)) == place for place in range(50))
    for name, told in (("0:31", "1 to 30"), ("1:0", "1 to 20"), ("2:1", "0:1"), ("china", "0:1"), ("1:x", "0:1")):
        with pytest.raises(InputError, match=told):
            instances.find(name)


@pytest.fixture
def source(tmp_path, make, digits):
    train(
        tmp_path / "source",
        make(image_size=16, latent=8),
        Domains({name: digits().pixels.repeat_interleave(2, 2).repeat_interleave(2, 3) for name in ("all",)}),
    )
    return Run.open(tmp_path / "source")


@pytest.mark.parametrize("transfer", ["all", "freeze-d"])
def test_transfer_starts_from_the_weights_of_a_run(tmp_path, source, transfer):
    few = Domains({"few": torch.randint(255, (6, 1, 16, 16), dtype=torch.uint8)})
    config = config_from(source, transfer=transfer, iterations=(3,), seed=5)
    assert config == replace(source.config, transfer=transfer, iterations=(3,), seed=5, started_from=str(source.path))
    run = Run.create(tmp_path / "new", config, few)
    with pytest.raises(InputError, match="stopped before it had the weights"):
        DipTrainer(run, few)
    start_from(source, run, few)
    before = load_file(source.path / "model.safetensors")
    assert same(source.path / "model.safetensors", run.path / "model.safetensors")
    trainer = DipTrainer(run, few)
    old, new = (load_file(folder / "features.safetensors") for folder in (source.path, run.path))
    assert all(torch.equal(value, new[name]) for name, value in old.items() if name != "features")
    assert new["features"].shape == (6, 10) and old["features"].shape == (50, 10)
    list(trainer.train())
    after = load_file(run.path / "model.safetensors")
    rests = {name for name in after if torch.equal(before[name], after[name]) and name.endswith(("original", "bias"))}
    lower = {
        name
        for name in after
        if name.startswith(("discriminator.blocks.0.", "discriminator.blocks.1."))
        and name.endswith(("original", "bias"))
    }
    assert rests == (lower if transfer == "freeze-d" else set())


def test_transfer_keeps_the_nets(source, make):
    with pytest.raises(InputError, match="leave out image_size, prior"):
        config_from(source, prior="none", image_size=8)
    with pytest.raises(InputError, match="--from"):
        make(transfer="freeze-d")


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"image_size": 24}, "image_size is 24"),
        ({"generator": "dcgan"}, "sngan, biggan, stylegan2"),
        ({"augment": "color,blur"}, "'blur'.*color,translation,cutout"),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"prior": "none", "neighbours": 2}, "neighbours is 2"),
        ({"generator": "biggan", "latent": 127}, "4 equal parts"),
        ({"average": 1.0}, "average"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"iterations": (1, 2)}, "one scale"),
    ],
)
def test_bad_settings_are_refused_by_name(changes, told):
    with pytest.raises(InputError, match=told):
        DipConfig(**changes)


def test_it_learns_to_draw_around_each_instance(tmp_path, make):
    """Images of four kinds, one quarter light each: most of those drawn around an instance are of its kind."""
    pixels = torch.randint(0, 40, (32, 1, 8, 8))
    kind = torch.arange(4).repeat_interleave(8)
    for image, quarter in zip(pixels, kind.tolist()):
        top, left = 4 * (quarter // 2), 4 * (quarter % 2)
        image[:, top : top + 4, left : left + 4] += 200
    domains = Domains({"all": pixels.to(torch.uint8)})
    config = make(feature_steps=60, iterations=(150,), learning_rate=4e-3, average=0.9, batch_size=16, critic_steps=1)
    trainer = DipTrainer(Run.create(tmp_path / "run", config, domains), domains)

    def share():
        noise = torch.randn(32, config.latent, generator=torch.Generator().manual_seed(0))
        drawn = F.avg_pool2d(trainer.gan.draw(noise, trainer.instances.features), 4).flatten(1)
        return (drawn.argmax(1) == kind).double().mean().item()

    before = share()
    list(trainer.train())
    assert before < 0.6 and share() > 0.8

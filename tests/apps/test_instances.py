"""A trained GAN with a Data Instance Prior in use: priors, walks, inversion, scores."""

import json

import pytest
import torch

from hyperconv import apps
from hyperconv.apps.instance_scores import write_instance_scores
from hyperconv.apps.instances import InstanceModel, invert
from hyperconv.data.domain_files import load_digits
from hyperconv.data.domains import Domains
from hyperconv.data.images import save_png
from hyperconv.errors import InputError

SMALL = {
    "embedding": 8,
    "latent": 8,
    "hidden": 8,
    "critic_hidden": 8,
    "most_channels": 16,
    "feature_width": 12,
    "feature_steps": 20,
    "batch_size": 16,
    "iterations": (60,),
    "learning_rate": 3e-3,
    "average": 0.9,
    "device": "cpu",
}


def some_digits():
    digits = load_digits(8)
    parts = dict(zip(digits.names, digits.pixels.split(digits.counts.tolist())))
    return Domains({name: parts[name][:20] for name in "014"})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    run = apps.train(some_digits(), tmp_path_factory.mktemp("dip") / "run", "tiny", system="dip", **SMALL)
    return InstanceModel.open(run.path, "cpu")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run without the prior."""
    folder = tmp_path_factory.mktemp("dip") / "run"
    run = apps.train(some_digits(), folder, "tiny", system="dip", prior="none", **{**SMALL, "iterations": (2,)})
    return InstanceModel.open(run.path, "cpu")


@pytest.mark.parametrize("prior", ["stored", "mixed", "kmeans", "gmm", "neighbours"])
def test_samples_of_every_prior(model, prior):
    images = apps.sample_instances(model, 5, prior, seed=1)
    assert images.shape == (5, 1, 8, 8) and images.abs().max() <= 1 and images.isfinite().all()
    assert torch.equal(images, apps.sample_instances(model, 5, prior, seed=1))
    assert not torch.equal(images, apps.sample_instances(model, 5, prior, seed=2))


def test_samples_around_an_instance_and_around_its_file(model, tmp_path):
    around = apps.sample_around(model, "4:3", 4)
    torch.testing.assert_close(around, model.draw(model.noise(4, 0), model.instances.features[[42] * 4]))
    save_png(model.photo("4:3"), tmp_path / "four.png")
    torch.testing.assert_close(apps.sample_around(model, tmp_path / "four.png", 4), around, rtol=1e-4, atol=1e-4)


def test_a_walk_starts_and_ends_at_its_instances(model):
    frames = apps.interpolate_instances(model, "0:1", "1:1", 5)
    ends = model.draw(model.noise(1, 0).expand(2, -1), torch.stack([model.prior("0:1"), model.prior("1:1")]))
    torch.testing.assert_close(frames[[0, -1]], ends, rtol=1e-4, atol=1e-5)
    apart = (frames[1:] - frames[:-1]).square().mean((1, 2, 3))
    assert frames.shape == (5, 1, 8, 8) and apart.max() < (ends[0] - ends[1]).square().mean()


def test_inversion_comes_nearer_to_the_photo(model, tmp_path):
    photo = model.photo("4:7")
    found, before = invert(model, photo, 40)
    assert found.error < 0.7 * before and found.prior.shape == (1, 12)
    torch.testing.assert_close(found.prior.norm(), torch.tensor(1.0))
    torch.testing.assert_close(found.noise.norm(), torch.tensor(8.0).sqrt())
    redrawn = model.gan.average(found.noise, found.prior)[0]
    torch.testing.assert_close(redrawn, found.image, rtol=1e-4, atol=1e-5)
    assert found.error == pytest.approx((redrawn - photo).square().mean().item(), rel=1e-3)
    assert invert(model, photo, 0)[0].error == before


def test_without_the_prior(plain):
    assert apps.sample_instances(plain, 3).shape == (3, 1, 8, 8)
    found, before = invert(plain, plain.photo("0:1"), 20)
    assert found.error < before and torch.equal(found.prior, torch.ones(1, 1))
    for use in (
        lambda: apps.sample_instances(plain, 3, "gmm"),
        lambda: apps.interpolate_instances(plain, "0:1", "1:1"),
        lambda: apps.sample_around(plain, "0:1", 1),
    ):
        with pytest.raises(InputError, match="without the prior"):
            use()


def test_scores(model, tmp_path):
    scores = write_instance_scores(model, tmp_path, 50, "mixed", seed=3)
    record = json.loads((tmp_path / "evaluation.json").read_text())
    assert (scores.samples, scores.real, scores.prior) == (50, 60, "mixed") and scores.features.startswith(
        "contrastive"
    )
    assert record["scores"]["frechet"] == scores.scores.frechet and 0 <= scores.scores.recall <= 1
    assert record["halves"].keys() == record["scores"].keys() and (tmp_path / "nearest.png").is_file()
    with pytest.raises(InputError, match="5 samples"):
        write_instance_scores(model, tmp_path / "few", 5)


def test_scores_of_a_run_without_features_are_of_a_net_trained_on_its_images(plain):
    scores, samples = apps.evaluate_instances(plain, 20)
    assert samples.shape == (20, 1, 8, 8) and "60 images" in scores.features


def test_training_continues_from_python(model, tmp_path):
    """Few-shot transfer by `apps.train`."""
    source = tmp_path / "source"
    apps.train(some_digits(), source, "tiny", system="dip", **{**SMALL, "iterations": (2,)})
    few = Domains({"sevens": load_digits(8).images("7")[:6].add(1).mul(127.5).round().to(torch.uint8)})
    run = apps.train(
        few, tmp_path / "few", system="dip", start_from=source, device="cpu", iterations=(3,), transfer="freeze-d"
    )
    assert run.config.transfer == "freeze-d" and run.config.hidden == 8 and run.checkpoint() == (0, 3)
    assert apps.sample_instances(InstanceModel.open(run.path, "cpu"), 2).shape == (2, 1, 8, 8)

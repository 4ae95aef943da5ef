import math
import statistics
from dataclasses import replace

import pytest
import torch

from hyperconv.apps.evaluate import evaluate, score
from hyperconv.apps.model import Model
from hyperconv.apps.sample import reconstruct, sample, write_samples
from hyperconv.data.images import save_png
from hyperconv.errors import InputError
from hyperconv.metrics.inception import InceptionFront
from hyperconv.metrics.patches import coherence, patch_swd
from hyperconv.metrics.pixels import diversity, psnr, reconstruction_rmse
from hyperconv.metrics.sifid import sifid


@pytest.fixture(scope="module")
def evaluation(model):
    return evaluate(model, count=3, seed=5)


def test_scores_are_those_of_the_samples_a_user_would_draw(model, evaluation):
    assert [photo.name for photo in evaluation.photos] == model.names and evaluation.notes == []
    for photo in evaluation.photos:
        real, samples = model.photo(photo.name), sample(model, photo.name, 3, seed=5)
        image = reconstruct(model.photo_model(photo.name))
        assert photo.size == tuple(real.shape[1:])
        assert photo.samples == {
            "patch_swd": patch_swd(samples, real),
            "coherence": coherence(samples, real),
            "diversity": diversity(samples, real),
            "reconstruction_rmse": reconstruction_rmse(image, real),
            "reconstruction_psnr": psnr(image, real),
        }
        assert photo.against is None and photo.against_sizes == []


def test_diversity_from_every_scale(model, evaluation):
    photo = evaluation.photos[1]
    real = model.photo(photo.name)
    spreads = [diversity(sample(model, photo.name, 3, seed=5, start_scale=k), real) for k in range(model.scales)]
    assert photo.diversity_from == spreads and spreads[0] > spreads[1] > 0
    means = [statistics.fmean(p.diversity_from[k] for p in evaluation.photos) for k in range(model.scales)]
    assert evaluation.diversity_from() == means


def test_some_photos_and_a_report_after_each(model, evaluation):
    calls = []
    some = evaluate(
        model, ["astro", "china.png", "astronaut"], 3, seed=5, each_scale=False, on_photo=lambda *at: calls.append(at)
    )
    assert [photo.name for photo in some.photos] == ["astronaut", "china"] and calls == [(1, 2), (2, 2)]
    expected = {photo.name: photo.samples for photo in evaluation.photos}
    assert [photo.samples for photo in some.photos] == [expected["astronaut"], expected["china"]]
    assert [photo.diversity_from for photo in some.photos] == [[photo.samples["diversity"]] for photo in some.photos]


def test_one_sample_has_no_diversity(model):
    (photo,) = evaluate(model, ["coffee"], 1).photos
    assert math.isnan(photo.samples["diversity"]) and math.isnan(photo.diversity_from[0])
    assert photo.samples["patch_swd"] > 0 and len(photo.diversity_from) == 1


def test_overall_is_over_the_photos_that_have_a_score(evaluation):
    first, second, third = evaluation.photos
    holed = replace(first, samples=first.samples | {"coherence": math.nan})
    overall = replace(evaluation, photos=[holed, second, third]).overall()
    assert overall["coherence"] == statistics.fmean([second.samples["coherence"], third.samples["coherence"]])
    assert evaluation.overall(statistics.median)["diversity"] == statistics.median(
        photo.samples["diversity"] for photo in evaluation.photos
    )
    assert replace(evaluation, photos=[holed]).overall()["coherence"] is not None
    assert math.isnan(replace(evaluation, photos=[holed]).overall()["coherence"])
    assert evaluation.overall_against() == {}


def test_sifid_is_named_by_its_block(model, inception_file):
    inception = InceptionFront(inception_file, 64)
    (photo,) = evaluate(model, ["coffee"], 2, each_scale=False, inception=inception).photos
    real, samples = model.photo("coffee"), sample(model, "coffee", 2)
    assert photo.samples["sifid_64"] == sifid(samples, real, inception)
    with pytest.raises(InputError, match="china is 21x32 pixels.*Inception features need 23 a side"):
        evaluate(model, count=2, inception=InceptionFront(inception_file, 192))


def test_photos_the_run_never_saw(model, flower):
    (photo,) = evaluate(model.with_photos([flower]), count=2, each_scale=False).photos
    assert photo.name == "flower" and photo.samples["patch_swd"] > 0


@pytest.fixture
def elsewhere(model, tmp_path):
    """Of coffee four samples, of astronaut the photo itself at two sizes, of china nothing."""
    write_samples(model, ["coffee"], tmp_path, 4, seed=9)
    save_png(model.photo("astronaut"), tmp_path / "astronaut" / "same.png")
    save_png(model.photo("astronaut")[:, :20], tmp_path / "astronaut" / "upper.png")
    return tmp_path


def test_images_made_elsewhere(model, elsewhere):
    evaluation = evaluate(model, count=3, each_scale=False, against=elsewhere)
    china, coffee, astronaut = evaluation.photos
    assert china.against is None and astronaut.against_sizes == [(32, 32), (20, 32)]
    drawn = [image.mul(127.5).round().div(127.5) for image in sample(model, "coffee", 3, seed=9)]
    assert coffee.against["patch_swd"] == pytest.approx(patch_swd(drawn, model.photo("coffee")), abs=1e-3)
    assert coffee.against["diversity"] == pytest.approx(diversity(drawn, model.photo("coffee")), rel=0.02)
    assert len(coffee.against_sizes) == 3, "as many as there are samples"
    assert astronaut.against["coherence"] < 1e-5 and math.isnan(astronaut.against["diversity"])
    assert evaluation.overall_against()["patch_swd"] == pytest.approx(
        (coffee.against["patch_swd"] + astronaut.against["patch_swd"]) / 2
    )
    assert len(evaluation.notes) == 3
    assert evaluation.notes[0] == f"no image in {elsewhere}: 1 of 3 photos (china)"
    assert "another size" in evaluation.notes[1] and "(astronaut)" in evaluation.notes[1]
    assert "no diversity" in evaluation.notes[2] and "(astronaut)" in evaluation.notes[2]


def test_identical_images_are_perfect_and_do_not_differ(model):
    real = model.photo("coffee")
    assert score([real, real], real) == {"patch_swd": 0, "coherence": 0, "diversity": 0}


def test_a_photo_whose_model_diverged_does_not_take_the_others_with_it(trained):
    model = Model.open(trained, "cpu")
    model.amplitudes[1] = math.nan
    evaluation = evaluate(model, count=2, each_scale=True)
    scores = [photo.samples["patch_swd"] for photo in evaluation.photos]
    assert math.isnan(scores[1]) and scores[0] > 0 and scores[2] > 0
    assert len(evaluation.notes) == 1 and "not finite" in evaluation.notes[0] and "(coffee)" in evaluation.notes[0]
    assert not torch.isnan(torch.tensor(list(evaluation.overall().values()))).any()


def test_names_the_run_does_not_have(model):
    with pytest.raises(InputError, match="zebra"):
        evaluate(model, ["zebra"])

import csv
import json
import math

import pytest
from PIL import Image

from hyperconv.apps.evaluate import Evaluation, PhotoScores
from hyperconv.apps.model import Model
from hyperconv.apps.sample import write_samples
from hyperconv.apps.scorecard import FILES, _write_json, write_evaluation
from hyperconv.errors import InputError
from hyperconv.metrics.inception import InceptionFront
from hyperconv.version import __version__


def strict_json(path):
    return json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


def test_the_files_say_what_the_evaluation_says(model, tmp_path, inception_file):
    write_samples(model, ["coffee"], tmp_path / "other", 2, seed=3)
    inception = InceptionFront(inception_file, 64)
    evaluation = write_evaluation(
        model, tmp_path / "out", count=2, seed=3, inception=inception, against=tmp_path / "other"
    )
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(FILES)
    content = strict_json(tmp_path / "out" / "evaluation.json")
    assert content["hyperconv"] == __version__ and content["notes"] == evaluation.notes
    assert content["settings"] == {
        "count": 2,
        "seed": 3,
        "against": str(tmp_path / "other"),
        "sifid": {"block": 64, "features": "before the first max pooling", "weights_sha256": inception.sha256},
    }
    assert content["mean"] == evaluation.overall() and content["mean_against"] == evaluation.overall_against()
    assert [photo["name"] for photo in content["photos"]] == model.names
    assert content["photos"][1]["samples"] == evaluation.photos[1].samples
    assert content["photos"][0]["size"] == [21, 32] and content["photos"][0]["against"] is None
    rows = list(csv.DictReader((tmp_path / "out" / "evaluation.csv").open()))
    assert [(row["photo"], row["images"]) for row in rows] == [
        ("china", "samples"),
        ("coffee", "samples"),
        ("coffee", "against"),
        ("astronaut", "samples"),
    ]
    assert float(rows[0]["patch_swd"]) == evaluation.photos[0].samples["patch_swd"]
    assert float(rows[0]["diversity_from_2"]) == evaluation.photos[0].diversity_from[2]
    assert rows[2]["reconstruction_rmse"] == "" and float(rows[2]["sifid_64"]) > 0
    for name in ("charts.png", "best_and_worst.png"):
        assert Image.open(tmp_path / "out" / name).width > 600


def test_nothing_is_overwritten_unless_forced_and_nothing_scored_before_that_is_known(model, tmp_path):
    (tmp_path / "charts.png").write_text("precious")

    def never(done, total):
        pytest.fail("scored")

    with pytest.raises(InputError, match=r"charts\.png is there already.*--force"):
        write_evaluation(model, tmp_path, on_photo=never)
    write_evaluation(model, tmp_path, ["coffee"], 1, force=True)
    assert Image.open(tmp_path / "charts.png").width > 600


def test_no_score_and_an_exact_reconstruction_in_json(tmp_path):
    scores = {"patch_swd": math.nan, "coherence": 0.5, "reconstruction_psnr": math.inf}
    _write_json(Evaluation([PhotoScores("lake", (8, 9), scores, [math.nan])]), {}, tmp_path / "e.json")
    content = strict_json(tmp_path / "e.json")
    assert content["photos"][0]["samples"] == {"patch_swd": None, "coherence": 0.5, "reconstruction_psnr": "inf"}
    assert content["mean"] == {"patch_swd": None, "coherence": 0.5, "reconstruction_psnr": "inf"}
    assert content["photos"][0]["diversity_from"] == [None]


def test_a_run_that_diverged_altogether(trained, tmp_path):
    model = Model.open(trained, "cpu")
    model.amplitudes[:] = math.nan
    evaluation = write_evaluation(model, tmp_path, count=2)
    assert "3 of 3 photos" in evaluation.notes[0]
    assert strict_json(tmp_path / "evaluation.json")["mean"]["patch_swd"] is None
    assert Image.open(tmp_path / "charts.png").width > 600

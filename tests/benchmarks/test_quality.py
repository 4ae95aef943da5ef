import json

import pytest

from benchmarks.quality import HELD_OUT, SINGLE, TRAINING, TUNED, paid_for, report
from benchmarks.training import SCORES
from hyperconv.data.examples import load_examples
from hyperconv.data.images import read_photo
from hyperconv.gan.presets import preset


def test_the_report_compares_means(tmp_path):
    for name, seconds in (("meta", 8.0), ("consingan", 10.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(preset("tiny").to_json()))
        (tmp_path / name / "seconds.json").write_text(json.dumps(seconds))
    swd = {TRAINING: 0.02, HELD_OUT: 0.03, TUNED.format(50): 0.025, SINGLE: 0.04}
    found = {
        who: {
            photo: {**dict.fromkeys(SCORES, 0.5), "patch_swd": value + shift, "seconds": 1.0}
            for photo, shift in (("a", -0.01), ("b", 0.01))
        }
        for who, value in swd.items()
    }
    page = report(tmp_path, found, 2, "cpu")
    assert "seed 0; of every five, number 2 is held out" in page
    assert "held-out over training photos, patch SWD: 1.50" in page
    assert "training photos over ConSinGAN, patch SWD: 0.50" in page
    assert f"| {TRAINING} | 2 | 0.0200 | 0.5000 | 0.5000 | 0.5000 | 4.00 |" in page
    kept = json.loads((tmp_path / "quality.json").read_text())
    assert kept["means"][HELD_OUT]["patch_swd"] == pytest.approx(0.03)
    assert read_photo(tmp_path / "quality.png").pixels.shape[0] == 3


def test_steps_are_what_the_time_pays_for():
    config = preset("tiny", "consingan", max_size=24, scale_count=2, hidden=8)
    photos = load_examples(["coffee"])
    few, many = (paid_for(seconds, photos, config, "cpu").iterations[0] for seconds in (0.0, 600.0))
    assert few == 10
    assert many > 100

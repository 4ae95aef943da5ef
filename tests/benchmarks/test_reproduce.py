import json
import re
import sys

import pytest

from benchmarks import reproduce
from benchmarks.training import UNFINISHED
from hyperconv.data.examples import load_examples
from hyperconv.data.images import resize, save_png
from hyperconv.gan.presets import PRESETS, preset


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of five small photos, and a preset called mini."""
    mini = preset(
        "tiny",
        max_size=24,
        min_size=16,
        scale_count=2,
        hidden=8,
        features=8,
        embedding_size=32,
        batch_size=2,
        iterations=(1200,),
        variants=0,
        first_scale_sees="embedding",
    )
    monkeypatch.setitem(PRESETS["meta"], "mini", mini)
    (tmp_path / "photos").mkdir()
    for photo in load_examples(["china", "coffee", "astronaut", "chelsea", "rocket"]):
        save_png(resize(photo.pixels, (36, 48)), tmp_path / "photos" / f"{photo.name}.png")
    return tmp_path / "photos"


def run(monkeypatch, experiment, photos, *options):
    out = photos.parent / "report"
    common = ["--photos", str(photos), "--out", str(out), "--preset", "mini", "--budget", "0.01", "--count", "2"]
    monkeypatch.setattr(sys, "argv", ["reproduce", experiment, *common, *options])
    reproduce.main()
    return out


def test_experiments_go_on_in_pieces_and_end_in_one_report(photos, monkeypatch):
    with pytest.raises(SystemExit) as left:
        run(monkeypatch, "lsun-50", photos, "--minutes", "0", "--checkpoint-every", "7")
    assert left.value.code == UNFINISHED
    for experiment in ("lsun-50", "unseen-photo", "interpolation"):
        out = run(monkeypatch, experiment, photos)
    assert json.loads((out / "run" / "config.json").read_text())["iterations"] == [12]
    page = (out / "report.md").read_text()
    assert "4 photos trained on, 1 held out; 24 px, 2 scales" in page and "Measured on 20" in page
    shown = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(shown) == 11 and all((out / picture).is_file() for picture in shown)
    assert sum(picture.endswith("_smoothness.png") for picture in shown) == 3
    rows = json.loads((out / "unseen" / "adapt_curve.json").read_text())["rows"]
    assert {row["what"] for row in rows} == {"weights", "embedding", "ConSinGAN from nothing"}
    assert all(row["seconds"] > 0 and row["rmse"] > 0 for row in rows)

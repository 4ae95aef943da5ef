import json
import sys

from benchmarks import published
from hyperconv.data.examples import load_examples
from hyperconv.data.images import save_png


def test_scores_of_the_first_photos_stand_beside_the_published_ones(tmp_path, monkeypatch, capsys):
    for name, photo in zip(("2", "10", "1"), load_examples(["china", "coffee", "astronaut"])):
        save_png(photo.pixels[:, ::4, ::4], tmp_path / "photos" / f"{name}.png")
    given = [
        tmp_path / "photos",
        "--photos",
        2,
        "--max-size",
        32,
        "--iterations",
        2,
        "--runs",
        tmp_path / "run",
        "--out",
        tmp_path / "out",
    ]
    monkeypatch.setattr(sys, "argv", ["published", *map(str, given)])
    published.main()
    kept = json.loads((tmp_path / "out" / "published.json").read_text())
    assert list(kept["photos"]) == ["1", "10"] and kept["config"]["iterations"] == [2]
    page = (tmp_path / "out" / "published.md").read_text()
    assert page.strip() in capsys.readouterr().out
    assert "| ConSinGAN, as published, 250 px | 0.0122 | 0.0030 | 0.3690 |" in page
    ours, soft = list(kept["scores"].values())[2:]
    assert 0 < soft["patch_swd"] < ours["patch_swd"] and "| - |" in page
    assert "- trained: step 2 of 2 of scale 4 of 4" in page


def test_a_training_whose_time_is_up_is_scored_as_far_as_it_is_and_goes_on(tmp_path, monkeypatch, capsys):
    (photo,) = load_examples(["china"])
    save_png(photo.pixels[:, ::4, ::4], tmp_path / "photos" / "1.png")
    given = [tmp_path / "photos", "--photos", 1, "--max-size", 24, "--iterations", 2, "--runs", tmp_path / "run"]
    for minutes, wanted in (
        (0, "step 2 of 2 of scale 1 of 4"),
        (0, "step 2 of 2 of scale 2 of 4"),
        (15, "step 2 of 2 of scale 4 of 4"),
    ):
        monkeypatch.setattr(sys, "argv", ["published", *map(str, given), "--minutes", str(minutes)])
        published.main()
        assert f"- trained: {wanted}" in capsys.readouterr().out

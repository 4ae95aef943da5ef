import sys

import pytest
import torch
from PIL import Image

from benchmarks import images_per_hour
from benchmarks.images_per_hour import PUBLISHED, grown, load
from benchmarks.training import SCORES


def test_a_stage_starts_from_the_one_before_it():
    torch.manual_seed(0)
    photos = [torch.rand(1, 3, side, side + 4) for side in (12, 14, 16)]
    gan = grown(None, photos[:1])
    gan.step()
    before = {name: value.clone() for name, value in gan.generator.state_dict().items()}
    critic = {name: value.clone() for name, value in gan.critic.state_dict().items()}
    for stage in (2, 3):
        gan = grown(gan, photos[:stage])
    after = gan.generator.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    for number in (1, 2):
        copies = {name: value for name, value in after.items() if name.startswith(f"bodies.{number}.")}
        assert copies and all(
            torch.equal(value, before[name.replace(f"bodies.{number}", "bodies.0")]) for name, value in copies.items()
        )
    assert all(torch.equal(gan.critic.state_dict()[name], value) for name, value in critic.items())
    assert gan.amplitudes[0] == 1 and all(0 < amplitude < 0.1 for amplitude in gan.amplitudes[1:])
    gan.step()


def test_both_are_scored(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "images_per_hour",
            "--together",
            "1",
            "2",
            "--max-size",
            "24",
            "--min-size",
            "12",
            "--iterations",
            "1",
            "--count",
            "2",
            "--out",
            str(tmp_path / "scores.md"),
        ],
    )
    images_per_hour.main()
    page = (tmp_path / "scores.md").read_text()
    assert page in capsys.readouterr().out
    assert "| hyperconv, 1 side by side |" in page and "| hyperconv, 2 side by side |" in page
    assert PUBLISHED in page and "nan" not in page and "\n2 photos at 24 px, 6 stages of 1 iterations" in page


def test_the_published_loop_may_take_fewer_photos(monkeypatch, capsys):
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "images_per_hour",
            "--together",
            "2",
            "--published",
            "1",
            "--max-size",
            "24",
            "--min-size",
            "12",
            "--iterations",
            "1",
            "--count",
            "2",
        ],
    )
    monkeypatch.setattr(images_per_hour, "plainly", lambda *_: {key: 1.0 for key in (*SCORES, "seconds")})
    calls = []
    monkeypatch.setattr(
        images_per_hour,
        "side_by_side",
        lambda photos, *_: (
            calls.append(len(photos)) or [{key: value for key in (*SCORES, "seconds")} for value in (0.25, 0.75)]
        ),
    )
    images_per_hour.main()
    page = capsys.readouterr().out
    assert calls == [2] and "means over 1 of them" in page
    assert "| hyperconv, 2 side by side | 0.2500 | 0.2500 | 0.2500 | 0.2500 | 0.5 | 7.2e+03 | 2.00 |" in page


def test_more_photos_side_by_side_than_there_are(tmp_path):
    with pytest.raises(SystemExit, match="99 photos side by side were asked for, and there are 10"):
        load(None, 99)
    for name in "ab":
        Image.new("RGB", (30, 20)).save(tmp_path / f"{name}.png")
    assert [photo.name for photo in load(tmp_path, 1)] == ["a"]
    with pytest.raises(SystemExit, match="3 photos side by side were asked for, and there are 2"):
        load(tmp_path, 3)

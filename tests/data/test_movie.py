import sys

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from hyperconv.data.images import to_uint8
from hyperconv.data.movie import check_format, save_movie
from hyperconv.errors import InputError


def frames(count=4, height=21, width=33, channels=3):
    """A bright square that moves over a gradient."""
    ramp = torch.linspace(-1, 0.5, width).expand(channels, height, width)
    images = [ramp.clone() for _ in range(count)]
    for number, image in enumerate(images):
        image[:, 5:12, 5 * number : 5 * number + 7] = 1
    return images


@pytest.mark.parametrize("kind, channels", [("gif", 3), ("webp", 3), ("gif", 1), ("webp", 1)])
def test_frames_come_back_in_order_at_their_pace(tmp_path, kind, channels):
    save_movie(frames(channels=channels), tmp_path / "new" / f"a.{kind}", fps=20)
    with Image.open(tmp_path / "new" / f"a.{kind}") as movie:
        assert movie.n_frames == 4 and movie.size == (33, 21) and movie.info["loop"] == 0
        for number, frame in enumerate(frames()):
            movie.seek(number)
            seen = torch.from_numpy(np.array(movie.convert("RGB"))).permute(2, 0, 1).float()
            assert (seen - to_uint8(frame).float()).abs().mean() < 6
            assert movie.info["duration"] == 50
    assert [file.name for file in (tmp_path / "new").iterdir()] == [f"a.{kind}"]


def test_mp4_with_odd_sides(tmp_path):
    save_movie(frames(), tmp_path / "a.mp4", fps=10)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    about = next(reader)
    assert about["size"] == (34, 22) and about["fps"] == 10
    for frame, pixels in zip(frames(), reader, strict=True):
        seen = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(22, 34, 3)[:21, :33].permute(2, 0, 1)
        assert (seen.float() - to_uint8(frame).float()).abs().mean() < 12


def test_formats_that_cannot_be(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="'avi'.*gif, mp4, webp"):
        save_movie(frames(), tmp_path / "a.avi", 10)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr("hyperconv.data.movie.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install imageio-ffmpeg"):
        check_format("mp4")
    check_format("gif")

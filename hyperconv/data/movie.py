"""Frames to files that move: GIF and WebP, and MP4 where ffmpeg is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hyperconv.data.images import to_uint8, with_channels
from hyperconv.errors import InputError
from hyperconv.files import replacing

FORMATS = ("gif", "mp4", "webp")
PALETTE_FRAMES = 16  # that a GIF's colours are chosen from


def check_format(kind: str) -> None:
    """InputError for a format that cannot be written here."""
    if kind not in FORMATS:
        raise InputError(f"no movie format is called {kind!r}: choose one of {', '.join(FORMATS)}")
    if kind == "mp4" and find_spec("imageio_ffmpeg") is None:
        raise InputError("MP4 needs ffmpeg: pip install imageio-ffmpeg, or take --format gif or webp")


def save_movie(frames: Sequence[Tensor], path: str | PathLike, fps: float) -> None:
    """Write frames (1 or 3, H, W) in [-1, 1], all of one size, as PATH.gif, .webp or .mp4; complete or not at all.

    GIF and WebP repeat for ever. GIF has 256 colours for all frames, and whole hundredths of a second for each. MP4
    (H.264) has even sides: an odd one is made longer by its last row or column.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".")
    check_format(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        {"gif": _save_gif, "mp4": _save_mp4, "webp": _save_webp}[kind](frames, temporary, fps)


def _save_gif(frames: Sequence[Tensor], path: Path, fps: float) -> None:
    images = _images(frames)
    some = images[:: max(1, len(images) // PALETTE_FRAMES)]
    together = Image.new("RGB", (some[0].width, some[0].height * len(some)))
    for number, image in enumerate(some):
        together.paste(image, (0, some[0].height * number))
    colours = together.quantize(256)
    indexed = [image.quantize(palette=colours, dither=Image.Dither.NONE) for image in images]
    _save_frames(indexed, path, fps, "gif", optimize=False)


def _save_webp(frames: Sequence[Tensor], path: Path, fps: float) -> None:
    _save_frames(_images(frames), path, fps, "webp", quality=90, method=4)


def _save_frames(images: list[Image.Image], path: Path, fps: float, kind: str, **settings) -> None:
    images[0].save(path, format=kind, save_all=True, append_images=images[1:], duration=1000 / fps, loop=0, **settings)


def _save_mp4(frames: Sequence[Tensor], path: Path, fps: float) -> None:
    from imageio_ffmpeg import write_frames

    pixels = [_even(frame) for frame in frames]
    height, width = pixels[0].shape[:2]
    writer = write_frames(
        str(path),
        (width, height),
        fps=fps,
        macro_block_size=2,
        quality=8,
        ffmpeg_log_level="error",
        output_params=["-f", "mp4"],
    )
    writer.send(None)
    for frame in pixels:
        writer.send(frame.numpy())
    writer.close()


def _images(frames: Sequence[Tensor]) -> list[Image.Image]:
    return [Image.fromarray(_rgb(frame).numpy()) for frame in frames]


def _even(frame: Tensor) -> Tensor:
    height, width = frame.shape[-2:]
    return _rgb(F.pad(frame[None], [0, width % 2, 0, height % 2], mode="replicate")[0])


def _rgb(frame: Tensor) -> Tensor:
    """(1 or 3, H, W) in [-1, 1] -> (H, W, 3) uint8 on the CPU."""
    return to_uint8(with_channels(frame, 3)).cpu().permute(1, 2, 0).contiguous()

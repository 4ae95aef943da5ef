from itertools import islice, pairwise

import pytest
import torch
from PIL import Image

from hyperconv.apps.animate import animate, walk, write_animations
from hyperconv.apps.sample import reconstruct
from hyperconv.data.images import save_png
from hyperconv.errors import InputError
from hyperconv.gan.noise import seeded, white


def pushes(step):
    return white((2, 3), seeded("cpu", 0, "push", step)).double()


def test_the_published_walk():
    alpha, beta, positions = 0.1, 0.8, list(islice(walk(pushes, 0.1, 0.8), 6))
    assert torch.equal(positions[0], torch.zeros(2, 3).double())
    for t in range(1, 5):
        direction = beta * (positions[t] - positions[t - 1]) + (1 - beta) * pushes(t)
        torch.testing.assert_close(positions[t + 1], (1 - alpha) * (positions[t] + direction))


@pytest.mark.parametrize("alpha, beta, period", [(0.1, 0.9, 20), (0.02, 0.95, 7), (0.5, 0, 1), (0.1, 0.8, 3)])
def test_a_closed_walk_comes_back_and_obeys_the_rule_all_the_way(alpha, beta, period):
    positions = list(islice(walk(pushes, alpha, beta, period), 2 * period + 1))
    for t in range(period + 1):
        torch.testing.assert_close(positions[t], positions[t + period])
    for t in range(1, 2 * period):
        direction = beta * (positions[t] - positions[t - 1]) + (1 - beta) * pushes(t % period)
        torch.testing.assert_close(positions[t + 1], (1 - alpha) * (positions[t] + direction))


def test_it_starts_from_the_photo_and_moves(any_model):
    frames = animate(any_model, "china", 4)
    torch.testing.assert_close(frames[0], reconstruct(any_model.photo_model("china")))
    steps = [(a - b).abs().mean() for a, b in pairwise(frames)]
    assert min(steps) > 0
    assert all(torch.equal(a, b) for a, b in zip(frames, animate(any_model, "china", 4)))


def test_a_later_start_holds_more_still(model):
    def motion(start_scale):
        frames = animate(model, "china", 6, start_scale=start_scale)
        return sum((frame - frames[0]).square().mean() for frame in frames)

    assert 0 < motion(2) < motion(0)


def test_a_coarsest_scale_that_knows_no_noise_holds_still(singles):
    harmonizer = singles("consingan", "tiny-harmonize")
    by_default, later, everything = (
        animate(harmonizer, "china", 3, **options) for options in ({}, {"start_scale": 1}, {"start_scale": 0})
    )
    assert torch.equal(by_default[2], later[2]) and not torch.equal(by_default[2], everything[2])


def test_a_loop_closes_smoothly(any_model):
    frames = animate(any_model, "china", 12, loop=True)
    steps = [(a - b).square().mean().sqrt() for a, b in pairwise(frames)]
    closing = (frames[-1] - frames[0]).square().mean().sqrt()
    assert closing < 2 * max(steps)
    assert len(frames) == 12


@pytest.mark.parametrize(
    "options, told",
    [
        ({"alpha": 1.0}, "alpha is 1"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"alpha": 0.0, "loop": True}, "loop"),
        ({"start_scale": 3}, "0 to 2"),
        ({"frames": 0}, "frames is 0"),
    ],
)
def test_impossible_walks(model, options, told):
    with pytest.raises(InputError, match=told):
        animate(model, "china", **{"frames": 2, **options})


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_writing(singles, tmp_path, kind):
    ((movie, _),) = write_animations(singles("singan"), ["china"], tmp_path / "a", 5, kind=kind, fps=20)
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == sorted([f"china.{kind}", "china_frames.png"])
    with Image.open(movie) as image:
        assert image.n_frames == 5 and image.size == singles("singan").photo("china").shape[:0:-1]
    ((again, _),) = write_animations(singles("singan"), ["china"], tmp_path / "b", 5, kind=kind, fps=20)
    assert movie.read_bytes() == again.read_bytes()
    with pytest.raises(InputError, match="already"):
        next(write_animations(singles("singan"), ["china"], tmp_path / "a", 5, kind=kind))


def test_files_of_several_photos(model, tmp_path, flower):
    save_png(flower.pixels[:, ::8, ::8], tmp_path / "china.png")
    names, taken = ["china", tmp_path / "china.png"], []
    written = list(write_animations(model, names, tmp_path / "a", 2, on_frame=lambda *each: taken.append(each)))
    assert [movie.name for movie, _ in written] == ["china.gif", "china-2.gif"]
    assert [sheet.name for _, sheet in written] == ["china_frames.png", "china-2_frames.png"]
    assert taken == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for name in ("china.gif", "china_frames.png", "china-2_frames.png"):
        (tmp_path / "a" / name).unlink()
    with pytest.raises(InputError, match="china-2.gif is there already"):
        next(write_animations(model, names, tmp_path / "a", 2))
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["china-2.gif"]


@pytest.mark.parametrize(
    "system, preset, start_scale, alpha",
    [
        ("consingan", "tiny", None, 0.5),  # its coarsest scale knows noise, and the photo, but nothing between
        ("consingan", "tiny", 1, 0.1),
        ("consingan", "tiny-animate", None, 0.1),
        ("consingan", "tiny-edit", None, 0.1),
        ("singan", "tiny", None, 0.1),
    ],
)
def test_a_walk_stays_near_where_textures_would_fade(singles, system, preset, start_scale, alpha):
    run = singles(system, preset)
    by_itself = animate(run, "china", 3, start_scale=start_scale)
    for one, other in zip(by_itself, animate(run, "china", 3, start_scale=start_scale, alpha=alpha), strict=True):
        assert torch.equal(one, other)

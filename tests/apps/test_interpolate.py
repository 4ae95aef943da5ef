from dataclasses import replace

import pytest
import torch

from hyperconv.apps.interpolate import _blend, interpolate, interpolate_grid, smoothness, write_interpolation
from hyperconv.apps.sample import reconstruct
from hyperconv.data.images import save_png
from hyperconv.errors import InputError


@pytest.mark.parametrize("space", ["embedding", "weights"])
def test_a_walk_goes_from_reconstruction_to_reconstruction(model, space):
    frames = interpolate(model, "china", "astronaut", 5, space=space)
    assert [tuple(frame.shape[1:]) for frame in frames] == [(21, 32), (24, 32), (26, 32), (29, 32), (32, 32)]
    torch.testing.assert_close(frames[0], reconstruct(model.photo_model("china")), atol=5e-3, rtol=0)
    torch.testing.assert_close(frames[-1], reconstruct(model.photo_model("astronaut")), atol=5e-3, rtol=0)
    assert not torch.allclose(frames[0], frames[1][:, :21])


def test_frames_hold_the_same_noise(model):
    """A walk from a photo to itself stands still, whatever the noise."""
    first, *others = interpolate(model, "coffee", "coffee", 3, seed=4)
    for frame in others:
        torch.testing.assert_close(frame, first, atol=5e-3, rtol=0)
    assert not torch.allclose(interpolate(model, "coffee", "coffee", 2, seed=5)[0], first)


def test_the_spaces_differ_by_the_norm_of_the_blended_contexts_alone(model, monkeypatch):
    through_embedding = interpolate(model, "china", "coffee", 3)
    through_weights = interpolate(model, "china", "coffee", 3, space="weights")
    for end in (0, -1):
        torch.testing.assert_close(through_embedding[end], through_weights[end], atol=5e-3, rtol=0)
    assert (through_embedding[1] - through_weights[1]).abs().max() > 5e-3
    monkeypatch.setattr(model.system.generator, "unit_contexts", False)
    blended, direct = (
        _blend(model, [(model, 0), (model, 1)], torch.tensor([[0.5, 0.5]]), space, range(3))
        for space in ("embedding", "weights")
    )
    for one, other in zip(blended.weights, direct.weights):
        torch.testing.assert_close(one.flat, other.flat, atol=1e-4, rtol=1e-4)


def test_a_photo_the_run_never_saw(model, flower, tmp_path):
    save_png(flower.pixels, tmp_path / "flower.png")
    frames = interpolate(model, "china", tmp_path / "flower.png", 3)
    expected = reconstruct(model.with_photos([flower]).photo_model(0))
    torch.testing.assert_close(frames[-1], expected, atol=5e-3, rtol=0)
    with pytest.raises(InputError, match="nowhere"):
        interpolate(model, "china", "nowhere.png")


def test_misuse(model):
    with pytest.raises(ValueError, match="steps is 1"):
        interpolate(model, "china", "coffee", 1)
    with pytest.raises(ValueError, match="hyperspace"):
        interpolate(model, "china", "coffee", space="hyperspace")


def test_writing(model, tmp_path):
    written = write_interpolation(model, ["chin", "coffee.png"], tmp_path / "walk", 3)
    assert written.picture == tmp_path / "walk" / "china-coffee.png"
    assert [len(row) for row in written.distances] == [2] and min(written.distances[0]) > 0
    assert sorted(file.name for file in written.picture.parent.iterdir()) == ["china-coffee.png"] + [
        f"china-coffee_{end}.png" for end in ("01", "02", "03", "smoothness")
    ]


def test_coarse_scales_of_one_and_fine_ones_of_the_other(model):
    coarse, fine = (model.photo_model(name) for name in ("china", "coffee"))
    mixed = replace(
        coarse,
        weights=[*coarse.weights[:1], *fine.weights[1:]],
        amplitudes=torch.cat([coarse.amplitudes[:, :1], fine.amplitudes[:, 1:]], dim=1),
    )
    for space in ("embedding", "weights"):
        frames = interpolate(model, "china", "coffee", 3, space=space, scales=range(1, 3))
        torch.testing.assert_close(frames[0], reconstruct(coarse), atol=5e-3, rtol=0)
        torch.testing.assert_close(frames[-1], reconstruct(mixed), atol=5e-3, rtol=0)
    with pytest.raises(InputError, match="scales 2 to 3 are not among the scales 0 to 2"):
        interpolate(model, "china", "coffee", 3, scales=range(2, 4))


@pytest.mark.parametrize("space", ["embedding", "weights"])
def test_a_grid_has_the_photos_at_its_corners_and_walks_along_its_sides(model, flower, tmp_path, space):
    save_png(flower.pixels, tmp_path / "flower.png")
    corners = ["china", "astronaut", "coffee", tmp_path / "flower.png"]
    grid = interpolate_grid(model, corners, 3, space=space)
    assert [len(row) for row in grid] == [3, 3, 3]
    for name, frame in zip(corners[:3], (grid[0][0], grid[0][-1], grid[-1][0])):
        torch.testing.assert_close(frame, reconstruct(model.photo_model(name)), atol=5e-3, rtol=0)
    for frame, other in zip(grid[0], interpolate(model, "china", "astronaut", 3, space=space)):
        torch.testing.assert_close(frame, other, atol=5e-3, rtol=0)
    written = write_interpolation(model, corners, tmp_path / "grid", 3, space=space)
    assert (
        written.picture.name == "china-astronaut-coffee-flower.png" and len(list((tmp_path / "grid").iterdir())) == 11
    )
    with pytest.raises(InputError, match="and 3 given: name 2 or 4"):
        write_interpolation(model, corners[:3], tmp_path / "grid")


def test_a_jump_shows_in_the_smoothness(model):
    frames = interpolate(model, "china", "coffee", 5)
    even = smoothness(frames)
    jump = smoothness([*frames[:2], *frames[3:]])
    assert len(even) == 4 and smoothness([frames[0], frames[0]]) == [0]
    assert jump[1] > max(even[1:3])

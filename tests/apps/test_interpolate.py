import pytest
import torch

from hyperconv.apps.interpolate import _blend, interpolate, write_interpolation
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
    blended = _blend(model, (model, 0), (model, 1), torch.tensor([0.5]), "embedding")
    direct = _blend(model, (model, 0), (model, 1), torch.tensor([0.5]), "weights")
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
    path = write_interpolation(model, "chin", "coffee.png", tmp_path / "walk", 3)
    assert path == tmp_path / "walk" / "china-coffee.png"
    assert sorted(file.name for file in path.parent.iterdir()) == ["china-coffee.png"] + [
        f"china-coffee_0{i}.png" for i in (1, 2, 3)
    ]

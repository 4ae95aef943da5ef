import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from hyperconv.data.mask import read_mask, soft_mask
from hyperconv.errors import InputError


def block(height=60, width=80, top=20, left=30, side=10):
    mask = torch.zeros(height, width)
    mask[top : top + side, left : left + side] = 1
    return mask


def test_dilation_and_blur_are_those_of_scipy():
    mask = block(125, 250, 40, 90, 9)
    soft = soft_mask(mask, (125, 250), radius=7)
    y, x = torch.meshgrid(torch.arange(-7, 8), torch.arange(-7, 8), indexing="ij")
    wide = ndimage.binary_dilation(mask.numpy(), (x**2 + y**2 <= 49).numpy())
    blurred = ndimage.gaussian_filter(wide.astype(float), 5, mode="nearest")
    wanted = torch.tensor((blurred - blurred.min()) / (blurred.max() - blurred.min())).float()
    torch.testing.assert_close(soft[0], wanted, atol=1e-4, rtol=0)


@given(st.integers(11, 70), st.integers(11, 70), st.sampled_from([7, 20]))
def test_any_size_gives_weights_that_reach_one_inside(height, width, radius):
    soft = soft_mask(block(), (height, width), radius)
    assert soft.shape == (1, height, width)
    assert soft.min() >= 0 and soft.max() <= 1
    assert soft.argmax() >= 0 and soft[0, int(25 / 60 * height), int(35 / 80 * width)] > 0.9


def test_a_single_pixel_survives_shrinking():
    mask = torch.zeros(200, 200)
    mask[100, 100] = 1
    assert soft_mask(mask, (50, 50), 7).max() == 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_even_mask_stays_what_it_is(value):
    assert torch.equal(soft_mask(torch.full((30, 40), value), (20, 30), 7), torch.full((1, 20, 30), value))


def test_reading(tmp_path):
    Image.fromarray((block() * 255).byte().numpy()).save(tmp_path / "mask.png")
    mask, remarks = read_mask(tmp_path / "mask.png")
    assert torch.equal(mask, block()) and remarks == []
    Image.fromarray((block() * 255).byte().numpy()).convert("RGBA").save(tmp_path / "opaque.png")
    assert torch.equal(read_mask(tmp_path / "opaque.png")[0], block())
    Image.fromarray((block() * 255).byte().numpy()).save(tmp_path / "mask.jpg", quality=70)
    assert (read_mask(tmp_path / "mask.jpg")[0] - block()).abs().mean() < 0.02


def test_masks_that_are_likely_mistaken(tmp_path):
    Image.fromarray(((1 - block()) * 255).byte().numpy()).save(tmp_path / "inverted.png")
    _, (remark,) = read_mask(tmp_path / "inverted.png")
    assert "98%" in remark and "inverted" in remark
    Image.new("L", (20, 20)).save(tmp_path / "empty.png")
    with pytest.raises(InputError, match="empty"):
        read_mask(tmp_path / "empty.png")
    image = Image.new("RGBA", (20, 20), "white")
    image.putalpha(Image.fromarray((block(20, 20, 5, 5) * 255).byte().numpy()))
    image.save(tmp_path / "alpha.png")
    with pytest.raises(InputError, match="transparent"):
        read_mask(tmp_path / "alpha.png")


def test_edges_of_an_opaque_mask_may_be_a_little_transparent(tmp_path):
    image = Image.fromarray((block() * 255).byte().numpy()).convert("RGBA")
    image.putpixel((30, 20), (90, 90, 90, 225))
    image.save(tmp_path / "edges.png")
    mask, (remark,) = read_mask(tmp_path / "edges.png")
    assert (mask - block()).abs().sum() <= 1 and "alpha" in remark

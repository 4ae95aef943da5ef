import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hyperconv.data import canvas

side = st.integers(1, 24)
size = st.tuples(side, side)
old_and_new = st.lists(st.tuples(size, size), min_size=1, max_size=4)


def images_of(sizes, channels=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(channels, *size, generator=generator, dtype=dtype) for size in sizes]


def alone(image, size, how="bilinear"):
    return F.interpolate(image[None], size, mode=how, align_corners=True)[0]


@settings(deadline=None)
@given(st.lists(size, min_size=1, max_size=5))
def test_stack_then_crop_gives_the_images_back(sizes):
    images = images_of(sizes)
    stacked, valid = canvas.stack(images)
    assert stacked.shape == (len(sizes), 3, max(h for h, _ in sizes), max(w for _, w in sizes))
    assert valid.dtype == torch.long and valid.tolist() == [list(size) for size in sizes]
    assert all(torch.equal(a, b) for a, b in zip(canvas.crop(stacked, valid), images, strict=True))
    beyond = 1 - canvas.mask(valid, *stacked.shape[2:])
    assert not (stacked * beyond).any()


@settings(deadline=None)
@given(st.lists(size, min_size=1, max_size=4))
def test_mask_counts_the_valid_pixels(sizes):
    mask = canvas.mask(torch.tensor(sizes), 24, 26)
    assert mask.shape == (len(sizes), 1, 24, 26) and mask.dtype == torch.float32
    assert mask.sum((1, 2, 3)).tolist() == [h * w for h, w in sizes]
    assert all(one[0, :h, :w].all() for one, (h, w) in zip(mask, sizes, strict=True))


@settings(deadline=None)
@given(old_and_new, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["bilinear", "bicubic"]))
def test_resample_equals_interpolation_of_each_image_alone(sizes, more_rows, more_columns, how):
    old, new = zip(*sizes, strict=True)
    images = images_of(old)
    stacked, valid = canvas.stack(images)
    target = (max(h for h, _ in new) + more_rows, max(w for _, w in new) + more_columns)
    result = canvas.resample(stacked, valid, torch.tensor(new), target, how)
    assert result.shape == (len(sizes), 3, *target)
    for image, size, one in zip(images, new, canvas.crop(result, torch.tensor(new)), strict=True):
        torch.testing.assert_close(one, alone(image, size, how), rtol=1e-11, atol=1e-11)
    assert not (result * (1 - canvas.mask(torch.tensor(new), *target))).any()


@settings(deadline=None)
@given(st.tuples(st.integers(2, 24), st.integers(2, 24)), st.integers(2, 3))
def test_cubic_enlarges_as_pillow_does_away_from_the_edges(size, factor):
    image = images_of([size], channels=1, dtype=torch.float32)[0]
    new = (size[0] * factor, size[1] * factor)
    result = canvas.resample(image[None], torch.tensor([size]), torch.tensor([new]), new, "cubic")[0, 0]
    wanted = np.array(Image.fromarray(image[0].numpy()).resize(new[::-1], Image.Resampling.BICUBIC))
    edge = 2 * factor
    inner = (slice(edge, new[0] - edge), slice(edge, new[1] - edge))
    np.testing.assert_allclose(result[inner], wanted[inner], atol=2e-5)
    flat = canvas.resample(torch.ones(1, 1, *size), torch.tensor([size]), torch.tensor([new]), new, "cubic")
    torch.testing.assert_close(flat, torch.ones(1, 1, *new))


def test_resample_in_float32_is_as_near_the_truth_as_interpolate():
    image = images_of([(128, 171)], dtype=torch.float32)[0]
    sizes, new = torch.tensor([[128, 171]]), torch.tensor([[187, 250]])
    truth = alone(image.double(), (187, 250))
    ours = canvas.resample(image[None], sizes, new, (187, 250))[0]
    assert (ours - truth).abs().max() <= (alone(image, (187, 250)) - truth).abs().max()


def test_resample_to_the_same_size_is_exact():
    images = images_of([(9, 14), (13, 5)], dtype=torch.float32)
    stacked, sizes = canvas.stack(images)
    assert torch.equal(canvas.resample(stacked, sizes, sizes, (13, 14)), stacked)


def test_resample_of_an_image_does_not_depend_on_its_batch_mates():
    images = images_of([(40, 53), (61, 30), (25, 80)], dtype=torch.float32)
    stacked, sizes = canvas.stack(images)
    new = sizes * 3 // 2
    together = canvas.crop(canvas.resample(stacked, sizes, new, (91, 120)), new)
    for index, image in enumerate(images):
        single = canvas.resample(image[None], sizes[index, None], new[index, None], tuple(new[index].tolist()))
        torch.testing.assert_close(together[index], single[0], rtol=1e-5, atol=1e-5)


def test_resample_is_differentiable_twice():
    stacked, sizes = canvas.stack(images_of([(3, 4), (5, 2)], channels=1))
    new = torch.tensor([[4, 6], [7, 3]])

    def resampled(values):
        return canvas.resample(values, sizes, new, (7, 6)).square()

    assert torch.autograd.gradcheck(resampled, stacked.requires_grad_())
    assert torch.autograd.gradgradcheck(resampled, stacked)


def test_resample_sends_no_gradient_beyond_the_valid_region():
    stacked, sizes = canvas.stack(images_of([(3, 4), (5, 2)]))
    stacked.requires_grad_()
    canvas.resample(stacked, sizes, sizes * 2, (10, 8)).square().sum().backward()
    beyond = (1 - canvas.mask(sizes, 5, 4)).bool()
    assert not stacked.grad[beyond.expand_as(stacked)].any() and stacked.grad.any()


def test_resample_keeps_its_precision_under_autocast():
    image = images_of([(19, 26)], dtype=torch.float32)[0]
    sizes, new = torch.tensor([[19, 26]]), torch.tensor([[27, 37]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = canvas.resample(image[None], sizes, new, (27, 37))
    torch.testing.assert_close(result[0], alone(image, (27, 37)), rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(st.lists(size, min_size=1, max_size=4), st.integers(1, 3))
def test_mean_is_the_mean_of_each_image(sizes, channels):
    images = images_of(sizes, channels)
    stacked, valid = canvas.stack(images)
    stacked = torch.where(canvas.mask(valid, *stacked.shape[2:]).bool(), stacked, torch.nan)
    expected = torch.stack([image.mean() for image in images])
    torch.testing.assert_close(canvas.mean(stacked, valid), expected)


def test_mean_passes_gradient_to_valid_pixels_only():
    values = torch.zeros(1, 2, 4, 5, requires_grad=True)
    canvas.mean(values, torch.tensor([[3, 2]])).sum().backward()
    expected = torch.zeros(1, 2, 4, 5)
    expected[:, :, :3, :2] = 1 / 12
    torch.testing.assert_close(values.grad, expected)


@pytest.mark.parametrize("images", [[], [torch.zeros(3, 4)], [torch.zeros(3, 4, 4), torch.zeros(1, 4, 4)]])
def test_stack_refuses_what_is_not_images_of_one_kind(images):
    with pytest.raises(ValueError, match="images"):
        canvas.stack(images)


@settings(deadline=None)
@given(st.lists(size, min_size=1, max_size=3), st.data(), st.integers(0, 5))
def test_shares_weigh_an_image_as_one_of_another_size(sizes, data, border):
    like = data.draw(st.lists(size, min_size=len(sizes), max_size=len(sizes)))
    shares = canvas.shares(torch.tensor(sizes), torch.tensor(like), border, 24, 25)
    assert shares.shape == (len(sizes), 1, 24, 25)
    for share, (height, width), (wanted_height, wanted_width) in zip(shares[:, 0], sizes, like):
        assert (share[:height, :width] > 0).all() and share.sum() == pytest.approx(share[:height, :width].sum())
        assert share.sum().item() == pytest.approx(wanted_height * wanted_width, rel=1e-5)
        if min(height, wanted_height) > 2 * border:  # a row of the border has the part that it has there
            parts = share.sum(1) / share.sum()
            for row in (*range(border), *range(height - border, height)):
                assert parts[row].item() == pytest.approx(1 / wanted_height, rel=1e-5)


def test_shares_of_an_image_of_its_own_size_are_all_alike():
    sizes = torch.tensor([[12, 9], [24, 25]])
    assert torch.equal(canvas.shares(sizes, sizes, 5, 24, 25), canvas.mask(sizes, 24, 25))

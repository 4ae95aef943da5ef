import pytest
import torch

from hyperconv.data import canvas
from hyperconv.gan.generator import Generator
from hyperconv.gan.photo_model import PhotoModel, no_noise
from hyperconv.nn.layout import WeightSet


@pytest.fixture
def model():
    """Three photos of different shapes, three scales, float64."""
    torch.manual_seed(0)
    generator = Generator(3, 6, depth=3)
    weights = [
        WeightSet(generator.layout(0), torch.randn(3, generator.layout(0).size).double() * 0.2) for _ in range(3)
    ]
    sizes = [torch.tensor([[11, 16], [16, 12], [14, 14]]) * (scale + 1) for scale in range(3)]
    amplitudes = torch.rand(3, 3).double()
    fixed = [torch.randn(3, 16, 16).double().expand(3, -1, -1, -1), None, None]
    return PhotoModel(generator, weights, amplitudes, sizes, fixed)


def test_a_photo_on_the_canvas_is_what_it_is_alone(model):
    together = canvas.crop(model.reconstruct(), model.sizes[-1])
    for index in range(3):
        alone = model.select(index).reconstruct()[0]
        assert alone.shape == together[index].shape
        torch.testing.assert_close(together[index], alone, rtol=1e-10, atol=1e-12)


def test_a_sample_on_the_canvas_is_what_it_is_alone_for_the_same_noise(model):
    margin = model.generator.margin
    noises: dict[tuple, torch.Tensor] = {}

    def noise(shape, scale):
        return noises.setdefault(tuple(shape[-2:]), torch.randn(shape).double())

    z = model.z(1, torch.Generator().manual_seed(1)).double()
    together = canvas.crop(model.images(model.climb(model.begin(z), noise)), model.sizes[-1])
    canvas_noises = list(noises.values())
    for index in range(3):
        one = model.select(index)

        def own_noise(shape, scale, index=index):
            height, width = (model.sizes[scale][index] + 2 * margin).tolist()
            assert shape[-2:] == (height, width)
            return canvas_noises[scale - 1][index : index + 1, :, :height, :width]

        height, width = one.sizes[0][0].tolist()
        alone = one.images(one.climb(one.begin(z[index : index + 1, :, :height, :width]), own_noise))[0]
        torch.testing.assert_close(together[index], alone, rtol=1e-10, atol=1e-12)


def test_several_draws_of_each_photo_use_its_weights(model):
    source = torch.Generator().manual_seed(3)
    z = model.z(2, source).double()
    images = model.climb(model.begin(z), no_noise).values
    one = model.select(1)
    again = one.climb(one.begin(z[2:4, :, :16, :12]), no_noise).values
    torch.testing.assert_close(images[2:4, :, :48, :36], again, rtol=1e-10, atol=1e-12)


def test_climbing_in_two_parts_is_climbing_at_once(model):
    half = model.climb_fixed(stop=2)
    whole = model.climb(half, no_noise).values
    torch.testing.assert_close(canvas.mean(whole, model.sizes[-1]), canvas.mean(model.reconstruct(), model.sizes[-1]))


def test_amplitude_is_the_rmse_of_the_upsampled_reconstruction(model):
    photos = [torch.randn(3, 3, *sizes.amax(0).tolist()).double() for sizes in model.sizes]
    measured = model.with_amplitudes(photos, factor=0.5).amplitudes
    assert torch.equal(measured[:, 0], torch.ones(3).double())
    for index, (height, width) in enumerate(model.sizes[1].tolist()):
        below = model.select(index).reconstruct(stop=1)
        up = torch.nn.functional.interpolate(below, (height, width), mode="bilinear", align_corners=True)
        rmse = (up - photos[1][index : index + 1, :, :height, :width]).square().mean().sqrt()
        torch.testing.assert_close(measured[index, 1], 0.5 * rmse)


def test_other_sizes(model):
    sizes = [torch.tensor([[12, 30], [12, 30], [12, 30]]) * (scale + 1) for scale in range(3)]
    images = model.resized(sizes)
    drawn = images.climb(images.begin(images.z(1, torch.Generator().manual_seed(0)).double()), no_noise).values
    assert drawn.shape == (3, 3, 36, 90)


def test_other_sizes_remember_those_of_training(model):
    larger = model.resized([2 * size for size in model.sizes])
    again = larger.resized([3 * size for size in model.sizes]).select(1)
    for scale in range(3):
        assert torch.equal(larger.grid(scale, 6).trained, model.sizes[scale].repeat_interleave(2, dim=0))
        assert torch.equal(again.grid(scale).trained, model.sizes[scale][1:2])
    assert model.grid(0).trained is None

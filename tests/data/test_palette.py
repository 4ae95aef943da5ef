import torch

from hyperconv.data.palette import palette, quantised
from hyperconv.gan.noise import generator


def source(seed=0):
    return generator("cpu", seed, "palette")


def test_five_colours_are_found_again():
    colours = torch.tensor([[-1.0, -1, -1], [1, -1, -1], [-1, 1, -1], [0, 0, 1], [1, 1, 1]])
    image = colours[torch.randint(5, (30, 40))].permute(2, 0, 1)
    noisy = image + 0.05 * torch.randn(image.shape)
    found = palette(noisy, 5, source())
    distances = torch.cdist(colours, found)
    assert distances.amin(dim=1).max() < 0.03 and distances.argmin(dim=1).unique().numel() == 5
    assert (quantised(noisy, found) - image).abs().max() < 0.03


def test_an_image_of_few_colours_has_no_more():
    image = torch.zeros(1, 8, 8)
    image[:, 4:] = 1
    assert sorted(palette(image, 5, source()).flatten().tolist()) == [0, 1]


def test_no_centre_could_be_better_where_it_is():
    image = torch.rand(3, 20, 20)
    colours = palette(image, 5, source())
    pixels = image.flatten(1).T
    nearest = torch.cdist(pixels, colours).argmin(dim=1)
    means = torch.stack([pixels[nearest == k].mean(dim=0) for k in range(5)])
    torch.testing.assert_close(means, colours, atol=1e-2, rtol=0)
    assert torch.equal(colours, palette(image, 5, source()))


def test_quantised_images_have_those_colours_only():
    colours = torch.tensor([[-1.0], [0.2], [0.9]])
    image = torch.rand(1, 9, 7) * 2 - 1
    result = quantised(image, colours)
    assert result.shape == image.shape
    assert set(result.flatten().tolist()) <= set(colours.flatten().tolist())
    assert (result - image).abs().max() <= 0.61

import torch

from hyperconv.data.palette import palette, quantised, recoloured
from hyperconv.gan.noise import seeded


def source(seed=0):
    return seeded("cpu", seed, "palette")


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


def test_recoloured_pictures_have_the_photos_mean_and_covariance():
    mix = torch.tensor([[0.2, 0.05, 0], [0, 0.1, 0.02], [0.03, 0, 0.15]])
    picture, photo = 0.3 * torch.randn(3, 40, 50), (mix @ torch.randn(3, 900)).reshape(3, 30, 30) + 0.1
    pixels = recoloured(picture, photo).flatten(1)
    torch.testing.assert_close(pixels.mean(dim=1), photo.flatten(1).mean(dim=1), atol=2e-3, rtol=0)
    torch.testing.assert_close(torch.cov(pixels), torch.cov(photo.flatten(1)), atol=2e-3, rtol=0)


def test_a_picture_in_the_photos_own_colours_stays_what_it_is():
    photo = torch.rand(3, 20, 30) - 0.5
    torch.testing.assert_close(recoloured(photo, photo), photo, atol=1e-5, rtol=0)


def test_even_and_grey_pictures_are_recoloured_too():
    for picture in (torch.zeros(3, 8, 8), torch.rand(1, 8, 8).expand(3, -1, -1), torch.rand(1, 8, 8)):
        photo = torch.rand(len(picture), 9, 9)
        result = recoloured(picture, photo)
        assert result.isfinite().all() and result.abs().max() <= 1
        torch.testing.assert_close(result.mean(dim=(1, 2)), photo.mean(dim=(1, 2)), atol=0.05, rtol=0)

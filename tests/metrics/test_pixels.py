import math

import pytest
import torch

from hyperconv.data.examples import load_examples
from hyperconv.metrics.pixels import diversity, psnr, reconstruction_rmse


@pytest.fixture(scope="module")
def real():
    return load_examples(["coffee"])[0].pixels[:, 100:220, 200:360].contiguous()


def noise(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_diversity_is_the_spread_over_samples_in_units_of_the_real_contrast():
    real = noise((1, 30, 40))
    assert diversity([real, real, real], real) == 0
    samples = noise((400, 1, 30, 40), 1)
    assert diversity(samples, real) == pytest.approx(1, abs=0.03)
    assert diversity([real, -real], real) == pytest.approx((real.abs().mean() / real.std(correction=0)).item())


def test_diversity_is_of_the_grey_value():
    real = noise((3, 20, 20))
    red = torch.zeros(2, 3, 20, 20)
    red[0, 0], red[1, 0] = 1, -1
    grey_std = (real * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0).std(correction=0)
    assert diversity(red, real) == pytest.approx(0.299 / grey_std.item(), rel=1e-4)


def test_reconstruction_rmse_is_in_units_of_the_full_range(real):
    assert reconstruction_rmse(real, real) == 0
    assert reconstruction_rmse(torch.full((3, 9, 9), 0.5), torch.zeros(3, 9, 9)) == pytest.approx(0.25)


def test_values_out_of_range_are_clamped():
    assert reconstruction_rmse(torch.full((3, 9, 9), 5.0), torch.ones(3, 9, 9)) == 0


def test_golden_value_of_diversity(real):
    assert diversity([real, real.flip(2)], real) == pytest.approx(0.279138, rel=1e-4)


def test_diversity_grows_with_the_noise_and_is_none_of_a_flat_photo(real):
    amounts = [diversity([real + amount * noise(real.shape, i) for i in range(5)], real) for amount in (0, 0.1, 0.3)]
    assert amounts[0] == 0 and amounts == sorted(set(amounts))
    flat = torch.full((3, 31, 17), 0.3)
    assert math.isnan(diversity([flat, -flat], flat)) and math.isnan(diversity([flat, flat], flat))


def test_psnr_is_that_of_the_error(real):
    assert psnr(real, real) == math.inf
    assert psnr(torch.full((3, 9, 9), 0.2), torch.zeros(3, 9, 9)) == pytest.approx(20)  # a tenth of the range
    assert psnr(torch.ones(1, 9, 9), -torch.ones(1, 9, 9)) == 0
    noisy = [psnr(real + amount * noise(real.shape), real) for amount in (0.05, 0.1, 0.2)]
    assert noisy == sorted(noisy, reverse=True) and noisy[0] - noisy[1] == pytest.approx(20 * math.log10(2), abs=0.3)


def test_samples_that_cannot_be_compared_are_refused(real):
    with pytest.raises(ValueError, match="two or more samples"):
        diversity([real], real)
    with pytest.raises(ValueError, match="one size"):
        diversity([real, real[:, :10]], real)
    with pytest.raises(ValueError, match="of one C"):
        diversity([real[:1], real[:1]], real)
    for score in (reconstruction_rmse, psnr):
        with pytest.raises(ValueError, match="differ in size"):
            score(real[:, :10], real)

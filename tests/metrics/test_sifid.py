import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from hyperconv.data.examples import load_examples
from hyperconv.metrics.inception import InceptionFront
from hyperconv.metrics.sifid import frechet_distance, gaussian, sifid


@pytest.fixture(scope="module")
def inception(inception_file):
    return InceptionFront(inception_file)


@pytest.fixture(scope="module")
def real():
    return load_examples(["coffee"])[0].pixels[:, 100:180, 200:300].contiguous()


def samples_of(count, dimensions, seed):
    """Correlated vectors off the origin; fewer than dimensions make a singular covariance."""
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=source, dtype=torch.double)
    return torch.randn(count, dimensions, generator=source, dtype=torch.double) @ mixing + mixing[0]


@given(st.floats(-3, 3), st.floats(0, 3), st.floats(-3, 3), st.floats(0, 3))
def test_of_one_dimension(mean, std, other_mean, other_std):
    """(m - m')^2 + (s - s')^2."""
    numbers = [torch.tensor([value], dtype=torch.double) for value in (mean, std**2, other_mean, other_std**2)]
    distance = frechet_distance(numbers[0], numbers[1][None], numbers[2], numbers[3][None])
    assert distance.item() == pytest.approx((mean - other_mean) ** 2 + (std - other_std) ** 2, abs=1e-12)


def test_of_diagonal_covariances():
    means, stds = torch.rand(2, 2, 40, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    distance = frechet_distance(means[0], stds[0].square().diag(), means[1], stds[1].square().diag())
    expected = (means[0] - means[1]).square().sum() + (stds[0] - stds[1]).square().sum()
    torch.testing.assert_close(distance, expected)


@pytest.mark.parametrize("count", [3, 20, 500])
def test_equal_gaussians_are_at_distance_zero_even_singular_ones(count):
    known = gaussian(samples_of(count, 20, seed=1))
    assert 0 <= frechet_distance(*known, *known) < 1e-11 * known[1].trace()
    moved = frechet_distance(known[0] + 0.5, known[1], *known)
    assert moved.item() == pytest.approx(20 * 0.25)


@pytest.mark.parametrize("count", [100, 15])
def test_equals_the_formula_with_the_root_of_the_product(count):
    one, other = gaussian(samples_of(count, 12, seed=2)), gaussian(samples_of(80, 12, seed=3))
    root = np.trace(sqrtm((one[1] @ other[1]).numpy()).real)
    expected = (one[0] - other[0]).square().sum() + one[1].trace() + other[1].trace() - 2 * root
    torch.testing.assert_close(frechet_distance(*one, *other), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(frechet_distance(*other, *one), expected, rtol=1e-6, atol=0)


def test_statistics_are_mean_and_unbiased_covariance():
    vectors = samples_of(30, 5, seed=4).float()
    mean, covariance = gaussian(vectors)
    assert mean.dtype == covariance.dtype == torch.double
    np.testing.assert_allclose(covariance.numpy(), np.cov(vectors.double().numpy(), rowvar=False), rtol=1e-10)
    assert gaussian(vectors[:, :1])[1].shape == (1, 1)


@pytest.mark.parametrize("block", [192, 64])
def test_an_image_is_at_distance_zero_from_itself_and_damage_moves_it_away(inception_file, real, block):
    inception = InceptionFront(inception_file, block)
    blurred = [F.avg_pool2d(real[None], side, 1, side // 2, count_include_pad=False)[0] for side in (1, 3, 5)]
    noisy = [real + amount * (torch.rand(real.shape) - 0.5) for amount in (0, 0.1, 0.4)]
    for damaged in (blurred, noisy):
        scores = [sifid(image, real, inception) for image in damaged]
        assert scores[0] < 1e-8 and scores == sorted(scores) and scores[1] > 1e-4


@pytest.mark.filterwarnings("ignore:Matrix is singular")  # a feature that is zero everywhere
def test_the_score_is_of_the_features_of_images_scaled_to_one(inception_file, real):
    """By hand, with scipy: pixels in [0, 1] into the net, one vector for each place."""
    inception = InceptionFront(inception_file, 64)
    sample = real.flip(2)[:, :60]
    features = [inception((image[None] + 1) / 2)[0].flatten(1).T.double().numpy() for image in (sample, real)]
    means, covariances = [f.mean(0) for f in features], [np.cov(f, rowvar=False) for f in features]
    root = np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    expected = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1]) - 2 * root
    assert sifid(sample, real, inception) == pytest.approx(expected, rel=1e-4)


def test_several_samples_and_grey_images(inception, real):
    flips = [real.flip(1), real.flip(2)]
    assert sifid(flips, real, inception) == pytest.approx(sum(sifid(f, real, inception) for f in flips) / 2, rel=1e-9)
    grey = real[:1]
    assert sifid(grey.flip(1), grey, inception) == pytest.approx(
        sifid(grey.flip(1).expand(3, -1, -1), grey.expand(3, -1, -1), inception), rel=1e-9
    )


def test_golden_value(inception, real):
    """With the random weights of tests/inception_weights.py: a change here is a change of the definition."""
    assert sifid(real.flip(2), real, inception) == pytest.approx(1.84087, rel=1e-3)


def test_images_too_small_for_the_block(inception, real):
    with pytest.raises(ValueError, match="23x23 pixels, got"):
        sifid(real[:, :22], real, inception)

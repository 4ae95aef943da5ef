import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import sqrtm

from hyperconv.data.examples import load_examples
from hyperconv.metrics.inception import InceptionFront
from hyperconv.metrics.sifid import sifid


@pytest.fixture(scope="module")
def inception(inception_file):
    return InceptionFront(inception_file)


@pytest.fixture(scope="module")
def real():
    return load_examples(["coffee"])[0].pixels[:, 100:180, 200:300].contiguous()


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

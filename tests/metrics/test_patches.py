import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconv.data.examples import load_examples
from hyperconv.metrics.patches import coherence, patch_swd

SCORES = [patch_swd, coherence]


@pytest.fixture(scope="module")
def coffee():
    return load_examples(["coffee"])[0].pixels


@pytest.fixture(scope="module")
def real(coffee):
    return coffee[:, 100:220, 200:360].contiguous()


def noise(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("score", SCORES)
def test_better_samples_score_lower(score, coffee, real):
    mirrored, elsewhere = real.flip(2), coffee[:, 250:370, 20:180]
    ranks = [score(sample, real) for sample in (real, mirrored, elsewhere, noise(real.shape))]
    assert ranks[0] == 0 and ranks == sorted(ranks) and ranks[1] > 0 and ranks[3] > 4 * ranks[1]


@pytest.mark.parametrize("score", SCORES)
def test_scores_repeat_and_hardly_depend_on_the_seed(score, real):
    sample = real.flip(2)
    scores = torch.tensor([score(sample, real, seed=seed) for seed in range(6)])
    assert score(sample, real) == score(sample, real, seed=0) and scores.unique().numel() == 6
    assert scores.std() < 0.2 * scores.mean()


@pytest.mark.parametrize("score", SCORES)
def test_a_score_of_several_is_the_mean(score, real):
    samples = [real.flip(1), noise((3, 40, 60)), real[:, :50]]
    mean = sum(score(sample, real) for sample in samples) / 3
    assert score(samples, real) == pytest.approx(mean, rel=1e-5)
    assert score(torch.stack(samples[:1] * 2), real) == pytest.approx(score(samples[0], real), rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(7, 40), st.integers(7, 40), st.integers(7, 40), st.integers(7, 40), st.sampled_from([1, 3]))
def test_images_of_any_sizes_and_channels(height, width, other_height, other_width, channels):
    sample, real = noise((channels, height, width)), noise((channels, other_height, other_width), 1)
    for score in SCORES:
        assert 0 <= score(sample, real) < 1 and score(real, real) == 0


def test_golden_values(real):
    """Of lossless pixels: a change here is a change of the definition."""
    sample = real.flip(2)
    assert patch_swd(sample, real) == pytest.approx(0.0116367, rel=1e-3)
    assert coherence(sample, real) == pytest.approx(0.00128858, rel=1e-3)


def test_patch_swd_of_a_constant_shift():
    """Every projection moves by shift * sum(direction), the same at each pooling factor."""
    real = noise((1, 40, 40)) / 2
    directions = torch.randn(128, 49, generator=torch.Generator().manual_seed(0))
    moved = 0.1 * (directions / directions.norm(dim=1, keepdim=True)).sum(1).abs().mean()
    assert patch_swd(real + 0.2, real) == pytest.approx(moved.item(), rel=1e-3)


def test_coherence_equals_a_search_over_all_patches():
    sample, real = noise((3, 12, 11)), noise((3, 15, 13), 1)

    def patches(image):
        return torch.nn.functional.unfold((image[None].double() + 1) / 2, 7)[0].T

    distances = torch.cdist(patches(sample), patches(real)).square() / (3 * 49)
    assert coherence(sample, real) == pytest.approx(distances.amin(1).mean().item(), rel=1e-5)


def test_coherence_of_a_crop_is_zero_however_many_patches_are_asked(real):
    assert coherence(real[:, 20:60, 30:80], real) == 0
    assert coherence(real.flip(1), real, sample_patches=7, real_patches=50) > 0


@pytest.mark.parametrize("sample", [torch.zeros(1, 20, 20), torch.zeros(3, 6, 20), torch.zeros(3, 20)])
def test_images_that_cannot_be_compared_are_refused(sample):
    for score in SCORES:
        with pytest.raises(ValueError, match="7x7 pixels, got"):
            score([sample, sample], torch.zeros(3, 20, 20))
        with pytest.raises(ValueError, match="empty"):
            score([], torch.zeros(3, 20, 20))


@pytest.mark.parametrize("score", SCORES)
def test_more_blur_and_more_noise_score_higher(score, real):
    blurred = [F.avg_pool2d(real[None], side, 1, side // 2, count_include_pad=False)[0] for side in (1, 3, 5, 9)]
    noisy = [real + amount * noise(real.shape) for amount in (0, 0.1, 0.3, 0.9)]
    for damaged in (blurred, noisy):
        scores = [score(image, real) for image in damaged]
        assert scores[0] == 0 and scores == sorted(set(scores))


def test_coherence_does_not_see_a_shift_and_patch_swd_sees_little(coffee):
    """A shifted crop of a photo has the photo's patches, but for those that came in at its border."""
    real, shifted = coffee[:, 100:220, 200:360], coffee[:, 102:222, 203:363]
    assert coherence(shifted[:, :110, :150], real[:, 2:]) == 0
    assert 0 < patch_swd(shifted, real) < 0.5 * patch_swd(real.flip(2), real)

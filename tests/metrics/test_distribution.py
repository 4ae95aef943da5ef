"""Scores of feature sets with a known answer: closed forms, equal sets, shifted sets, parts of a set."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from hyperconv.metrics import distribution
from hyperconv.metrics.distribution import (
    density_coverage,
    distribution_scores,
    frechet_distance,
    gaussian,
    precision_recall,
)


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


def normal(count, dimensions, seed, dtype=torch.float):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_the_distance_of_samples_of_two_gaussians_is_near_the_closed_form():
    """N(0, I) and N(1/2, 4 I) in four dimensions: 4 * (1/4 + 1)."""
    distance = frechet_distance(*gaussian(2 * normal(50_000, 4, 0) + 0.5), *gaussian(normal(50_000, 4, 1)))
    assert float(distance) == pytest.approx(5, rel=0.02)


def test_a_set_beside_itself():
    features = normal(300, 16, 0)
    scores = distribution_scores(features, features.clone())
    assert scores.frechet < 1e-10
    assert (scores.precision, scores.recall, scores.coverage) == (1, 1, 1)
    assert scores.density == (5 + 1) / 5  # every ball holds its centre and five others
    shuffled = distribution_scores(features[torch.randperm(300)], features)
    assert shuffled[1:] == scores[1:]


def test_sets_of_one_distribution_and_sets_far_apart():
    real, more, far = normal(1000, 8, 0), normal(1000, 8, 1), normal(1000, 8, 2) + 20
    alike = distribution_scores(more, real)
    assert alike.precision > 0.8 and alike.recall > 0.8 and 0.9 < alike.density < 1.1
    assert alike.coverage == pytest.approx(1 - 0.5**5, abs=0.03)  # that of five nearest one at least is generated
    apart = distribution_scores(far, real)
    assert apart[1:] == (0, 0, 0, 0) and apart.frechet == pytest.approx(8 * 400, rel=0.05)


def test_missing_modes_cost_recall_and_coverage_and_wrong_ones_precision_and_density():
    modes = torch.eye(10)[torch.arange(1000) % 10] * 100
    real, generated = modes + normal(1000, 10, 0), modes + normal(1000, 10, 1)
    few = generated[torch.arange(1000) % 10 < 3].repeat(2, 1)
    precision, recall = precision_recall(few + 1e-3 * normal(600, 10, 2), real)
    density, coverage = density_coverage(few, real)
    assert precision > 0.8 and 0.1 < recall < 0.31
    assert 0.8 < density < 1.2 and 0.2 < coverage < 0.31
    wrong = torch.cat([generated[:500], generated[:500] - 100])
    right = precision_recall(generated[:500], real)[0]
    assert precision_recall(wrong, real)[0] == pytest.approx(right / 2, abs=1e-9)
    assert density_coverage(wrong, real)[0] == pytest.approx(density_coverage(generated[:500], real)[0] / 2)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_scores_are_those_of_their_definitions(k):
    """Of all differences, with no matrix product."""
    generated, real = normal(40, 3, 0, torch.double), normal(50, 3, 1, torch.double) * 1.5

    def within(vectors, centres):
        """(vectors, centres), whether each is in the ball around each."""
        radii = (centres[:, None] - centres).norm(dim=2).sort(dim=1).values[:, k]
        return (vectors[:, None] - centres).norm(dim=2) <= radii

    held, recalled = within(generated, real), within(real, generated)
    precision, recall = (each.any(1).double().mean().item() for each in (held, recalled))
    density, coverage = held.double().sum().item() / 40 / k, held.any(0).double().mean().item()
    assert precision_recall(generated, real, k) == pytest.approx((precision, recall))
    assert density_coverage(generated, real, k) == pytest.approx((density, coverage))


def test_equal_vectors_are_within_balls_without_a_radius():
    """More copies of a vector than neighbours: its ball is a point, and rounding must not empty it."""
    real = normal(5, 64, 0).repeat_interleave(8, 0)
    assert precision_recall(real[::8].repeat(2, 1), real) == (1, 1)
    assert density_coverage(real[:8], real)[1] == 0.2
    assert precision_recall(real[::8] + 0.01, real)[0] == 0


def test_no_more_than_a_chunk_of_distances_is_in_memory(monkeypatch):
    features, real = normal(130, 4, 0), normal(170, 4, 1)
    whole = distribution_scores(features, real)
    monkeypatch.setattr(distribution, "CHUNK", 16)
    assert max(len(part) for part in distribution._distances(real, features)) == 16
    assert distribution_scores(features, real) == pytest.approx(whole)


def test_too_few_vectors():
    with pytest.raises(ValueError, match="k is 3: of 3 vectors each has 2 neighbours"):
        precision_recall(normal(10, 2, 0), normal(3, 2, 1))

"""Draws of every prior, against instances whose neighbours and clusters are known."""

import sys

import pytest
import torch
import torch.nn.functional as F

from hyperconv.errors import InputError
from hyperconv.gan.dip.prior import PRIORS, prior

GROUPS, EACH = 4, 25


@pytest.fixture(scope="module")
def features():
    """Four narrow groups around the first four axes, one after another (100, 6)."""
    noise = torch.randn(GROUPS * EACH, 6, generator=torch.Generator().manual_seed(0))
    return F.normalize(torch.eye(6)[:GROUPS].repeat_interleave(EACH, 0) + 0.05 * noise, dim=1)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def group_of(features):
    return features.argmax(1)


def rows_of(drawn, features):
    """The place of each draw among the instances; it is one of them."""
    distances, rows = torch.cdist(drawn, features, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert not distances.any()
    return rows


@pytest.mark.parametrize("name", PRIORS)
def test_draws_are_of_length_one_and_depend_on_the_source_alone(name, features):
    one = prior(name, features)
    drawn = one.draw(50, source(3))
    assert drawn.shape == (50, 6) and drawn.dtype == features.dtype
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(50))
    assert torch.equal(prior(name, features).draw(50, source(3)), drawn)
    assert not torch.equal(one.draw(50, source(4)), drawn)
    assert one.draw(0, source()).shape == (0, 6)
    assert len(group_of(one.draw(200, source())).unique()) >= GROUPS


def test_stored_draws_every_instance_equally_often(features):
    counts = rows_of(prior("stored", features).draw(20_000, source()), features).bincount(minlength=100)
    assert 140 < counts.min() and counts.max() < 260  # 200 +- 14


def test_mixes_lie_on_the_arc_between_two_instances():
    pair = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    drawn = prior("mixed", pair).draw(4000, source())
    assert not drawn[:, 2].any() and (drawn >= 0).all()
    share = drawn[:, 1] / drawn.sum(1)  # of the second instance
    alone = ((share < 1e-6) | (share > 1 - 1e-6)).double().mean()
    assert 0.45 < alone < 0.55  # an instance met itself
    between = share[(share > 1e-6) & (share < 1 - 1e-6)]
    assert abs(between.mean() - 0.5) < 0.02 and abs(between.std() - 12**-0.5) < 0.02  # uniform


def test_kmeans_draws_one_real_instance_of_each_cluster(features):
    rows = rows_of(prior("kmeans", features, clusters=GROUPS).draw(200, source()), features).unique()
    assert (rows // EACH).tolist() == list(range(GROUPS))
    for row in rows.tolist():  # the most central one of its group
        group = features[row // EACH * EACH :][:EACH]
        assert row % EACH == (group - group.mean(0)).norm(dim=1).argmin()
    assert torch.equal(prior("kmeans", features, clusters=100).draw(5, source()), features[_randint(100, 5)])


def _randint(among, count):
    return torch.randint(among, (count,), generator=source())


def test_a_mixture_knows_the_groups_and_how_wide_they_are(features):
    mixture = prior("gmm", features, clusters=GROUPS)
    torch.testing.assert_close(mixture.weights, torch.full((GROUPS,), 1 / GROUPS))
    order = mixture.means.argmax(1).argsort()
    groups = features.unflatten(0, (GROUPS, EACH))
    torch.testing.assert_close(mixture.means[order], groups.mean(1), rtol=0, atol=1e-4)
    torch.testing.assert_close(mixture.deviations[order], groups.std(1, correction=0), rtol=0, atol=0.01)
    drawn = mixture.draw(4000, source())
    assert (torch.cdist(drawn, features).min(1).values > 1e-4).all()  # new ones
    assert (group_of(drawn).bincount() - 1000).abs().max() < 150


def test_neighbours_are_the_nearest_instances_and_the_instance_itself(features):
    neighbours = prior("neighbours", features, k=3)
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(-1)
    for row, nearest in enumerate(neighbours.nearest.tolist()):
        assert sorted(nearest) == sorted(distances[row].argsort()[:3].tolist()) and row in nearest
    instances = torch.arange(100).repeat(60)
    chosen = neighbours.of(instances, source())
    assert all(set(chosen[row::100].tolist()) == set(neighbours.nearest[row].tolist()) for row in range(100))
    alone = prior("neighbours", features, k=1)
    assert torch.equal(alone.of(torch.arange(100), source()), torch.arange(100))


def test_wrong_use_is_told_in_one_line(features, monkeypatch):
    for told, arguments, settings in (
        ("'spline': choose one of stored, mixed", ("spline", features), {}),
        ("stored has no setting k", ("stored", features), {"k": 3}),
        ("got .0, 6.", ("stored", features[:0]), {}),
        ("clusters is 101: there are 100", ("kmeans", features), {"clusters": 101}),
        ("clusters is 0", ("gmm", features), {"clusters": 0}),
        ("k is 101", ("neighbours", features), {"k": 101}),
    ):
        with pytest.raises(InputError, match=told):
            prior(*arguments, **settings)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for name in ("kmeans", "gmm"):
        with pytest.raises(InputError, match="pip install 'hyperconv.examples.'"):
            prior(name, features)
    assert prior("neighbours", features, k=2).draw(3, source()).shape == (3, 6)

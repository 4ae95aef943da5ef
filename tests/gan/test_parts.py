from itertools import combinations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconv.gan.parts import PART_PIXELS, apart, cut, take

CPU = torch.device("cpu")
side = st.integers(11, 60)


@settings(deadline=None)
@given(st.lists(st.tuples(side, side), min_size=1, max_size=12), st.integers(1, 12))
def test_every_photo_has_a_place_on_canvases_that_are_no_larger_than_needed(finest, at_a_time):
    sizes = [torch.tensor(finest) // 2 + 1, torch.tensor(finest)]
    parts = cut(len(finest), at_a_time, sizes, CPU)
    rows = [torch.arange(len(finest))[part.rows].tolist() for part in parts]
    assert sorted(photo for group in rows for photo in group) == list(range(len(finest)))
    for part, group in zip(parts, rows):
        assert len(group) <= at_a_time
        extents = part.extents or [tuple(level.amax(dim=0).tolist()) for level in sizes]
        assert extents == [tuple(level[group].amax(dim=0).tolist()) for level in sizes]


def pixels(groups):
    return sum(
        PART_PIXELS["cpu"] + len(group) * max(h for h, _ in group) * max(w for _, w in group) for group in groups
    )


@settings(deadline=None)
@given(st.lists(st.tuples(side, side), min_size=1, max_size=7), st.integers(1, 7))
def test_no_other_cuts_of_photos_in_the_order_of_their_shapes_cost_less(finest, at_a_time):
    parts = cut(len(finest), at_a_time, [torch.tensor(finest)], CPU)
    found = pixels([[finest[photo] for photo in torch.arange(len(finest))[part.rows]] for part in parts])
    order = sorted(finest, key=lambda size: (size[0] / size[1], size[0]))
    for count in range(len(order)):
        for places in combinations(range(1, len(order)), count):
            groups = [order[begin:end] for begin, end in zip((0, *places), (*places, len(order)))]
            assert max(map(len, groups)) > at_a_time or found <= pixels(groups)


def test_photos_of_one_size_go_together_and_in_their_order():
    sizes = [torch.tensor([[20, 30]] * 5)]
    assert cut(5, 8, sizes, CPU) == [(slice(0, 5), None)]
    assert [part.rows.tolist() for part in cut(5, 2, sizes, CPU)] == [[0, 1], [2, 3], [4]]


def test_a_device_of_another_kind_cuts_as_a_gpu():
    sizes = [torch.tensor([[20, 60], [60, 20]])]
    assert len(cut(2, 2, sizes, CPU)) == 2
    assert cut(2, 2, sizes, torch.device("meta")) == [(slice(0, 2), None)]


def test_batches_that_change_are_cut_in_order():
    assert cut(5, 2, None, CPU) == [(slice(0, 2), None), (slice(2, 4), None), (slice(4, 5), None)]


def test_the_rows_of_every_part_come_out_of_one_batch_with_their_gradients():
    batch = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    sizes = [torch.tensor([[40, 20], [20, 40], [40, 20], [20, 40], [20, 40]])]
    for parts in (cut(5, 5, None, CPU), cut(5, 2, None, CPU), cut(5, 5, sizes, CPU)):
        pieces = apart(batch, parts)
        for part, piece in zip(parts, pieces, strict=True):
            assert torch.equal(piece, batch[part.rows]) and torch.equal(take(batch, part.rows), piece)
        (gradient,) = torch.autograd.grad(sum((piece**2).sum() for piece in pieces), batch)
        torch.testing.assert_close(gradient, 2 * batch)

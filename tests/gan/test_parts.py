import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconv.gan.parts import WASTE, cut

CPU = torch.device("cpu")
side = st.integers(11, 60)


@settings(deadline=None)
@given(st.lists(st.tuples(side, side), min_size=1, max_size=12), st.integers(1, 12))
def test_every_photo_has_a_place_on_canvases_that_are_not_too_empty(finest, at_a_time):
    sizes = [torch.tensor(finest) // 2 + 1, torch.tensor(finest)]
    parts = cut(len(finest), at_a_time, sizes, CPU)
    rows = [torch.arange(len(finest))[part.rows].tolist() for part in parts]
    assert sorted(photo for group in rows for photo in group) == list(range(len(finest)))
    for part, group in zip(parts, rows):
        assert len(group) <= at_a_time
        extents = part.extents or [tuple(level.amax(dim=0).tolist()) for level in sizes]
        for level, (height, width) in zip(sizes, extents):
            assert (level[group] <= torch.tensor([height, width])).all()
        height, width = extents[-1]
        assert len(group) * height * width <= WASTE * sizes[-1][group].prod(dim=1).sum()


def test_photos_of_one_size_go_together_and_in_their_order():
    sizes = [torch.tensor([[20, 30]] * 5)]
    assert cut(5, 8, sizes, CPU) == [(slice(0, 5), None)]
    assert [part.rows.tolist() for part in cut(5, 2, sizes, CPU)] == [[0, 1], [2, 3], [4]]


def test_batches_that_change_are_cut_in_order():
    assert cut(5, 2, None, CPU) == [(slice(0, 2), None), (slice(2, 4), None), (slice(4, 5), None)]

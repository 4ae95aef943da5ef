import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconv.nn.layout import WeightLayout, WeightSet

SHAPES = {"head.weight": (4, 3, 3, 3), "head.bias": (4,), "tail.weight": (2, 4, 1, 1)}
shapes = st.dictionaries(
    st.text("abc.", min_size=1, max_size=4), st.lists(st.integers(1, 4), max_size=4), min_size=1, max_size=5
)


@pytest.fixture
def layout():
    return WeightLayout(SHAPES)


def storage(tensor):
    return tensor.untyped_storage().data_ptr()


def test_offsets_follow_the_order_of_the_shapes(layout):
    assert layout.names == tuple(SHAPES)
    assert layout.offsets == {"head.weight": 0, "head.bias": 108, "tail.weight": 112}
    assert layout.size == 120


@settings(max_examples=50, deadline=None)
@given(shapes, st.integers(0, 3))
def test_flatten_undoes_split(shapes, batch):
    layout = WeightLayout(shapes)
    flat = torch.randn(batch, layout.size)
    parts = layout.split(flat)
    assert {name: tuple(part.shape[1:]) for name, part in parts.items()} == layout.shapes
    assert torch.equal(layout.flatten(dict(reversed(parts.items()))), flat)


@pytest.mark.parametrize("expanded", [False, True])
def test_split_gives_views_at_their_offsets(layout, expanded):
    flat = torch.randn(1, layout.size).expand(5, -1) if expanded else torch.randn(5, layout.size)
    for name, part in layout.split(flat).items():
        assert storage(part) == storage(flat)
        assert part.storage_offset() == layout.offsets[name]
        assert part.stride(0) == (0 if expanded else layout.size)
        assert part[0].is_contiguous()


def test_gradients_of_all_views_meet_in_one_node(layout):
    flat = torch.randn(2, layout.size, requires_grad=True)
    weights = WeightSet(layout, flat)
    nodes = [view.grad_fn.next_functions[0][0] for view in weights.values()]  # kept: ids of the dead are used again
    assert len({id(node) for node in nodes}) == 1
    sum((i + 1) * view.sum() for i, view in enumerate(weights.values())).backward()
    expected = layout.fill({name: i + 1 for i, name in enumerate(layout.names)})
    assert torch.equal(flat.grad, expected.expand(2, -1))


def test_a_set_is_split_once(layout, monkeypatch):
    calls = []
    split = WeightLayout.split
    monkeypatch.setattr(WeightLayout, "split", lambda self, flat: calls.append(1) or split(self, flat))
    weights = WeightSet(layout, torch.randn(2, layout.size))
    assert calls == []
    for _ in range(2):
        assert list(weights) == list(SHAPES)
        assert [tuple(view.shape) for view in weights.values()] == [(2, *shape) for shape in SHAPES.values()]
    assert calls == [1]


def test_a_set_read_without_gradients_still_trains(layout):
    flat = torch.randn(2, layout.size, requires_grad=True)
    weights = WeightSet(layout, flat)
    with torch.no_grad():
        weights["head.bias"].sum()
    weights["head.bias"].sum().backward()
    assert flat.grad.sum() == 8
    tracked = weights["head.bias"]
    with torch.no_grad():
        assert weights["head.bias"] is tracked


def test_batch_and_length_differ(layout):
    weights = WeightSet(layout, torch.randn(7, layout.size))
    assert (weights.batch, len(weights)) == (7, 3)
    assert "head.bias" in weights and "other" not in weights
    with pytest.raises(KeyError):
        weights["other"]


@pytest.mark.parametrize(
    ("index", "rows"),
    [(1, [1]), (-1, [3]), (slice(1, 3), [1, 2]), ([2, 0, 2], [2, 0, 2]), (torch.tensor([3, 1]), [3, 1])],
)
def test_select(layout, index, rows):
    weights = WeightSet(layout, torch.randn(4, layout.size))
    assert torch.equal(weights.select(index).flat, weights.flat[rows])
    assert weights.select(0)["head.weight"].shape == (1, 4, 3, 3, 3)
    with pytest.raises(IndexError, match="index 4 is out of range for 4"):
        weights.select(4)


def test_detach_shares_memory_and_to_converts(layout):
    weights = WeightSet(layout, torch.randn(2, layout.size, requires_grad=True))
    assert not weights.detach().flat.requires_grad
    assert storage(weights.detach().flat) == storage(weights.flat)
    assert weights.to(torch.float64)["head.bias"].dtype == torch.float64


def test_lerp_is_exact_at_the_ends_and_linear_between(layout):
    a, b = (WeightSet(layout, torch.randn(1, layout.size)) for _ in range(2))
    path = WeightSet.lerp(a, b, torch.linspace(0, 1, 5))
    assert path.batch == 5
    assert torch.equal(path.select(0).flat, a.flat) and torch.equal(path.select(-1).flat, b.flat)
    torch.testing.assert_close(path.select(1).flat, 0.75 * a.flat + 0.25 * b.flat)
    torch.testing.assert_close(WeightSet.lerp(a, b, 0.25).flat, path.select(1).flat)
    other = WeightLayout({"bias": (layout.size,)})
    with pytest.raises(ValueError, match="differ in layout"):
        WeightSet.lerp(a, WeightSet(other, b.flat), 0.5)


def test_equal_are_the_same_tensors_in_the_same_order(layout):
    for again in (WeightLayout(SHAPES), pickle.loads(pickle.dumps(layout))):
        assert again == layout and hash(again) == hash(layout) and again.names == layout.names
    assert layout != WeightLayout(dict(reversed(SHAPES.items())))


def test_he_std_counts_the_inputs_of_a_unit(layout):
    expected = {"head.weight": (2 / 27) ** 0.5, "head.bias": 0, "tail.weight": 0.5**0.5}
    assert layout.he_std() == pytest.approx(expected)


def test_compiles_to_one_graph(layout):
    def norm(flat):
        weights = WeightSet(layout, flat)
        return sum(weights[name].square().sum() for name in weights) + weights["head.bias"].sum()

    flat = torch.randn(3, layout.size)
    compiled = torch.compile(norm, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(flat), norm(flat))


def test_errors_name_the_numbers(layout):
    with pytest.raises(ValueError, match=r"\(2, 119\).*\(B, 120\)"):
        WeightSet(layout, torch.zeros(2, 119))
    with pytest.raises(ValueError, match=r"\(120,\)"):
        layout.split(torch.zeros(120))
    with pytest.raises(ValueError, match="at least one tensor"):
        WeightLayout({})
    with pytest.raises(ValueError, match="'a'.*at least 1"):
        WeightLayout({"a": (3, 0)})
    parts = layout.split(torch.zeros(2, 120))
    with pytest.raises(ValueError, match=r"missing \['head.bias'\], unknown \['x'\]"):
        layout.flatten({("x" if name == "head.bias" else name): part for name, part in parts.items()})
    with pytest.raises(ValueError, match=r"'head.bias'.*\(2, 3\)"):
        layout.flatten({**parts, "head.bias": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="called x"):
        layout.fill({"x": 1.0})

import torch

from benchmarks.choice import Cell, Layer, calls, layers, measure, page


def test_random_layers_are_the_same_for_the_same_seed():
    assert [*layers(20, 3)] == [*layers(20, 3)] != [*layers(20, 4)]
    assert all(layer.suits for layer in layers(200, 0))


def test_the_arguments_fit_the_operators():
    x, weight, *_ = calls(Layer(3, 8, 9, 3, 2, 1, 2, 4))["conv2d"]
    assert x.shape == (8, 3, 9, 9) and weight.shape == (2, 8, 3, 3, 3)


def test_other_dtypes_and_memory_formats_are_measured():
    grad, x, y, *_ = calls(Layer(3, 8, 9, 3, 2, 1, 2, 4), torch.bfloat16, "nhwc")["parameter_gradients"]
    assert {t.dtype for t in (grad, x, y)} == {torch.bfloat16}
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in (grad, x, y))
    cells = measure(1, 0, 0.001, torch.bfloat16, "nhwc")
    assert {len(found) for found in cells.values()} == {1} and len(cells) == 3


def test_the_page_names_every_operator_and_the_calls_that_lose_most():
    one, other = layers(2, 0)
    cells = {
        "conv2d": [
            Cell(one, "native", {"native": 2.0, "reference": 1.0}),
            Cell(other, "native", {"native": 1.0, "reference": 4.0}),
        ],
        "input_gradient": [Cell(one, "reference", {"native": 1.0, "reference": 1.05})],
    }
    lines = page(cells)
    assert "| conv2d | 2 | 2 | 1.41 | 1.41 | 50% | 1.414 |" in lines
    assert "| input_gradient | 1 | 0 | 1.00 | 1.05 | 100% | 1.050 |" in lines
    assert lines.index(f"| conv2d | {one} | native | 2e+03 | 1e+03 |") < lines.index(
        f"| input_gradient | {one} | reference | 1e+03 | 1.05e+03 |"
    )

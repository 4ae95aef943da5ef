"""What is said of the times of a GPU's operators: means, and the entries that `auto` goes by."""

from benchmarks.gpu_operators import fastest, means, page


def row(side, triton, native, reference, layer="64->64"):
    return {
        "layer": layer,
        "side": side,
        "arithmetic": "tf32",
        "layout": "nchw",
        "class": {"conv2d": "correlate/a/class"},
        "us": {"conv2d": {"triton": triton, "native": native, "reference": reference}},
    }


def test_another_backend_is_named_where_it_won_clearly_in_every_layer_of_a_class():
    everywhere, once = [row(64, 10, 20, 8), row(128, 40, 80, 30)], [row(64, 10, 20, 8), row(128, 40, 80, 38)]
    entry = '    ("9.0", "tf32", "{}", "correlate/a/class"): "reference",'
    assert fastest(everywhere, "9.0") == [entry.format("conv2d"), entry.format("masked_conv2d")]
    assert fastest(once, "9.0") == []


def test_means_over_the_layers_of_a_format():
    rows = [row(64, 10, 20, 40), row(128, 40, 80, 40)]
    assert "| tf32 | nchw | 2.00 (1.00 to 4.00) |" in means(rows)[2] and means(rows)[-2] == "All: 2.00 (1.00 to 4.00)"
    assert any("2.00 (2.00 to 2.00)" in line for line in means(rows, "native"))
    assert any(line.startswith("| 64->64 | 128x128 |") for line in page(rows))

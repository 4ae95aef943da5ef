from benchmarks.low_precision import means


def test_means_are_geometric_per_stride_and_layout():
    cells = [(1, "nchw", [1.0, 2.0, 1.0, 1.0]), (1, "nchw", [4.0, 8.0, 1.0, 1.0]), (2, "nhwc", [0.5, 0.5, 0.5, 0.5])]
    assert means(cells) == [
        ["1", "nchw", "2.00", "4.00", "1.00", "1.00", "1.68"],
        ["2", "nhwc", "0.50", "0.50", "0.50", "0.50", "0.50"],
        ["all", "", "", "", "", "", "1.12"],
    ]

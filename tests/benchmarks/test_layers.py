"""The list of layers."""

from benchmarks.layers import layers


def test_the_full_list_holds_the_quick_one():
    for device, batches in (("cpu", {1, 4, 8, 16}), ("cuda", {1, 4, 8, 16, 64})):
        full = layers(device, full=True)
        assert set(layers(device, full=False)) < set(full)
        assert len(full) == len(set(full)) == 6 * 5 * len(batches)
        assert {layer.batch for layer in full} == batches

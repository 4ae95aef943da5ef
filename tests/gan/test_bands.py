import pytest
import torch

from hyperconv.gan import template
from hyperconv.gan.template import ConvStack
from hyperconv.nn.layout import WeightSet


@pytest.mark.parametrize("height, pixels", [(40, 500), (41, 1), (23, 23 * 17 * 4 - 1)])
def test_bands_of_rows_equal_the_apply(monkeypatch, height, pixels):
    stack = ConvStack(3, 6, 3, depth=3, tail="tanh")
    weights = WeightSet(stack.layout, 0.2 * torch.randn(2, stack.layout.size))
    images = torch.randn(4, 3, height + 6, 17 + 6)
    whole = stack(images, weights)
    seen = []
    monkeypatch.setattr(template, "PIXELS_AT_ONCE", pixels)
    monkeypatch.setattr(stack, "_apply", lambda band, *rest: seen.append(band) or ConvStack._apply(stack, band, *rest))
    with torch.no_grad():
        banded = stack(images, weights)
    torch.testing.assert_close(banded, whole, rtol=1e-5, atol=1e-6)
    assert len(seen) > 1 and max(len(band) * (band.shape[2] - 6) * 17 for band in seen) <= max(pixels, 4 * 17)


def test_what_learns_or_normalises_is_not_parted(monkeypatch):
    monkeypatch.setattr(template, "PIXELS_AT_ONCE", 1)
    images = torch.randn(1, 3, 16, 16)
    for norm in (False, True):
        stack = ConvStack(3, 4, 3, depth=2, norm=norm)
        weights = WeightSet(stack.layout, torch.randn(1, stack.layout.size))
        seen = []
        monkeypatch.setattr(stack, "_apply", lambda band, *rest, seen=seen: seen.append(band) or band)
        with torch.set_grad_enabled(not norm):
            stack(images, weights)
        assert len(seen) == 1

"""VGG16 against the layers as published, written out."""

import pytest
import torch
import torch.nn.functional as F

from hyperconv.errors import InputError
from hyperconv.nn.instance_features import InstanceFeatures
from hyperconv.nn.vgg import VGG16

CONVOLUTIONS = {
    0: (3, 64),
    2: (64, 64),
    5: (64, 128),
    7: (128, 128),
    10: (128, 256),
    12: (256, 256),
    14: (256, 256),
    17: (256, 512),
    19: (512, 512),
    21: (512, 512),
    24: (512, 512),
    26: (512, 512),
    28: (512, 512),
}
POOLED_AFTER = (2, 7, 14, 21, 28)


def test_the_layout_is_the_published_one():
    """torchvision's vgg16 has 138,357,544 parameters with its 1000 classes."""
    with torch.device("meta"):
        state = VGG16().state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    expected = {f"features.{i}.weight": (after, before, 3, 3) for i, (before, after) in CONVOLUTIONS.items()}
    expected |= {f"features.{i}.bias": (after,) for i, (_, after) in CONVOLUTIONS.items()}
    expected |= {
        "classifier.0.weight": (4096, 25088),
        "classifier.0.bias": (4096,),
        "classifier.3.weight": (4096, 4096),
        "classifier.3.bias": (4096,),
    }
    assert shapes == expected
    assert sum(value.numel() for value in state.values()) == 138_357_544 - 4097 * 1000


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file such as torchvision's, without the half gigabyte of its layers of 4,096."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in VGG16().state_dict().items()}
    source, state = torch.Generator().manual_seed(0), {}
    for key, shape in shapes.items():
        row = (
            shape[1:] if key.startswith("classifier") and len(shape) == 2 else shape
        )  # its rows are one, a few kilobytes
        spread = 0.1 if len(shape) == 1 else (2 / shape[1:].numel()) ** 0.5
        state[key] = (spread * torch.randn(row, generator=source)).expand(shape)
    state["classifier.6.weight"], state["classifier.6.bias"] = torch.zeros(1).expand(1000, 4096), torch.zeros(1000)
    path = tmp_path_factory.mktemp("weights") / "vgg16-397923af.pth"
    torch.save(state, path)
    return path, state


@torch.no_grad()
def test_features_are_fc7(weights):
    path, state = weights
    features = InstanceFeatures.from_file(path, size=32)
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = ((images.repeat(1, 3, 1, 1) + 1) / 2 - mean) / std
    for i in CONVOLUTIONS:
        x = F.conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], padding=1).clamp(min=0)
        x = F.max_pool2d(x, 2) if i in POOLED_AFTER else x
    x = F.adaptive_avg_pool2d(x, 7).flatten(1)
    for layer in ("classifier.0", "classifier.3"):
        x = F.linear(x, state[f"{layer}.weight"], state[f"{layer}.bias"]).clamp(min=0)
    torch.testing.assert_close(features.raw(images), x, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features(images), F.normalize(x, dim=1), rtol=1e-3, atol=1e-5)
    assert (features.kind, features.width) == ("vgg16", 4096)


def test_another_vgg_is_named(weights, tmp_path):
    _, state = weights
    torch.save({**state, "features.30.weight": torch.zeros(1)}, tmp_path / "vgg.pth")
    with pytest.raises(InputError, match="not the weights of VGG16: tensors 1 unexpected .first: features.30.weight"):
        InstanceFeatures.from_file(tmp_path / "vgg.pth")

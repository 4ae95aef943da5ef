"""The network with random weights, saved under the names and in the shapes of the published files."""

import pytest
import torch
import torch.nn.functional as F
from inception_weights import FRONT, published_state
from safetensors.torch import save_file

from hyperconv.errors import InputError
from hyperconv.metrics.inception import BLOCKS, LEAST, InceptionFront


def test_the_layout_is_the_published_one():
    """Of torchvision's inception_v3 without its auxiliary head: 23,834,568 parameters with 1000 classes."""
    state = published_state()
    kept = [value for key, value in state.items() if not key.endswith(("running_mean", "running_var", "tracked"))]
    assert len(state) == 94 * 6 + 2
    assert sum(value.numel() for value in kept) == 23_834_568 + 8 * 2049


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("height, width", [(23, 40), (64, 47), (99, 130)])
def test_features_are_those_of_the_layers_as_written(inception_file, block, height, width):
    images, state = torch.rand(2, 3, height, width), torch.load(inception_file, weights_only=True)

    def layer(x, name, stride=1, padding=0):
        x = F.conv2d(x, state[f"{name}.conv.weight"].double(), stride=stride, padding=padding)
        mean, variance, weight, bias = (
            state[f"{name}.bn.{entry}"].double().view(-1, 1, 1)
            for entry in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (variance + 1e-3).sqrt() * weight + bias).clamp(min=0)

    x = layer(images.double() * 2 - 1, "Conv2d_1a_3x3", stride=2)
    x = layer(layer(x, "Conv2d_2a_3x3"), "Conv2d_2b_3x3", padding=1)
    if block == 192:
        x = layer(layer(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1"), "Conv2d_4a_3x3")
    inception = InceptionFront(inception_file, block).train()  # no mode changes the function
    features = inception(images)
    assert features.shape[:2] == (2, block) and not features.requires_grad
    torch.testing.assert_close(features.double(), x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_least_size_leaves_two_by_two_features(inception_file, block):
    inception, least = InceptionFront(inception_file, block), LEAST[block]
    assert inception(torch.rand(1, 3, least, least)).shape[2:] >= (2, 2)
    with pytest.raises(ValueError, match=f"at least {least}x{least} pixels"):
        inception(torch.rand(1, 3, least, least - 1))
    with pytest.raises(ValueError, match="got"):
        inception(torch.rand(1, 1, 50, 50))
    with pytest.raises(ValueError, match="192, 64"):
        InceptionFront(inception_file, 768)


def test_a_file_of_any_kind_and_age(inception_file, tmp_path):
    images = torch.rand(1, 3, 50, 50)
    expected = InceptionFront(inception_file)(images)
    state = torch.load(inception_file, weights_only=True)
    front = {key: value.clone() for key, value in state.items() if key.split(".")[0] in FRONT}
    save_file(front, tmp_path / "front.safetensors")
    torch.save({key: value for key, value in state.items() if "tracked" not in key}, tmp_path / "old.pth")
    for name in ("front.safetensors", "old.pth"):
        assert torch.equal(InceptionFront(tmp_path / name)(images), expected)
    assert InceptionFront(tmp_path / "old.pth").sha256 != InceptionFront(inception_file).sha256


def test_files_that_are_no_inception_weights(inception_file, tmp_path):
    state = torch.load(inception_file, weights_only=True)
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    torch.save({**state, "Conv2d_2a_3x3.conv.weight": torch.zeros(16, 32, 3, 3)}, tmp_path / "slim.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "page.pth").write_text("<html>404</html>")
    for name, told in {
        "resnet.pth": "not the weights of Inception v3: tensors 25 missing .first: Conv2d_1a_3x3.conv.weight",
        "slim.pth": "1 of another shape .first: Conv2d_2a_3x3.conv.weight",
        "list.pth": "no state_dict",
        "page.pth": "not a file of network weights",
        "absent.pth": "no such file",
    }.items():
        with pytest.raises(InputError, match=f"{name}.*{told}"):
            InceptionFront(tmp_path / name)

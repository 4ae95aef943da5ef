"""The whole Inception v3: its layout is the published files', every block is written out once more, and the file tells which."""

import pytest
import torch
import torch.nn.functional as F
from inception_weights import published_state

from hyperconv.errors import InputError
from hyperconv.metrics.inception_v3 import InceptionV3, published_inception
from hyperconv.nn.instance_features import InstanceFeatures


def shapes(state):
    return {key: tuple(value.shape) for key, value in state.items()}


def test_the_layout_is_the_published_one():
    with torch.device("meta"):
        own = shapes(InceptionV3("fid").state_dict())
    assert own == {key: shape for key, shape in shapes(published_state()).items() if not key.startswith("fc.")}


@pytest.fixture(scope="module")
def nets():
    """Both variants with the same random weights and statistics."""
    torch.manual_seed(0)
    fid, torchvision = InceptionV3("fid"), InceptionV3("torchvision")
    for key, value in fid.state_dict().items():
        if "running_mean" in key:
            value.normal_(0, 0.1)
        if "running_var" in key:
            value.uniform_(0.5, 1.5)
    torchvision.load_state_dict(fid.state_dict())
    return {"fid": fid.requires_grad_(False), "torchvision": torchvision.requires_grad_(False)}


def written_out(state, block, x, variant):
    """A block as in Szegedy et al. 2016, figures 5 to 7 and 10, by its layers' names."""

    def layer(x, name, stride=1):
        weight, mean, variance, gain, bias = (
            state[f"{block}.branch{name}.{entry}"]
            for entry in ("conv.weight", "bn.running_mean", "bn.running_var", "bn.weight", "bn.bias")
        )
        padding = (0, 0) if stride == 2 else tuple(side // 2 for side in weight.shape[2:])
        return F.batch_norm(
            F.conv2d(x, weight, stride=stride, padding=padding), mean, variance, gain, bias, eps=1e-3
        ).relu()

    def chain(*names):
        part = x
        for name in names:
            part = layer(part, name)
        return part

    def average():
        if variant == "fid":
            ones = F.avg_pool2d(torch.ones_like(x), 3, 1, 1)
            return layer(F.avg_pool2d(x, 3, 1, 1) / ones, "_pool")
        return layer(F.avg_pool2d(x, 3, 1, 1), "_pool")

    kind = block[-2:]
    if kind in ("5b", "5c", "5d"):
        return [chain("1x1"), chain("5x5_1", "5x5_2"), chain("3x3dbl_1", "3x3dbl_2", "3x3dbl_3"), average()]
    if kind == "6a":
        return [layer(x, "3x3", 2), layer(chain("3x3dbl_1", "3x3dbl_2"), "3x3dbl_3", 2), F.max_pool2d(x, 3, 2)]
    if kind == "7a":
        return [
            layer(chain("3x3_1"), "3x3_2", 2),
            layer(chain("7x7x3_1", "7x7x3_2", "7x7x3_3"), "7x7x3_4", 2),
            F.max_pool2d(x, 3, 2),
        ]
    if kind in ("7b", "7c"):
        one, two = chain("3x3_1"), chain("3x3dbl_1", "3x3dbl_2")
        last = layer(F.max_pool2d(x, 3, 1, 1), "_pool") if kind == "7c" and variant == "fid" else average()
        return [
            chain("1x1"),
            layer(one, "3x3_2a"),
            layer(one, "3x3_2b"),
            layer(two, "3x3dbl_3a"),
            layer(two, "3x3dbl_3b"),
            last,
        ]
    return [chain("1x1"), chain("7x7_1", "7x7_2", "7x7_3"), chain(*(f"7x7dbl_{i}" for i in range(1, 6))), average()]


@pytest.mark.parametrize("variant", ["fid", "torchvision"])
@pytest.mark.parametrize(
    "block, channels", [("5b", 192), ("5c", 256), ("6a", 288), ("6b", 768), ("7a", 768), ("7b", 1280), ("7c", 2048)]
)
def test_every_block_is_that_of_the_paper(nets, variant, block, channels):
    net, x = nets[variant], torch.rand(2, channels, 9, 8)
    expected = torch.cat(written_out(net.state_dict(), f"Mixed_{block}", x, variant), 1)
    torch.testing.assert_close(getattr(net, f"Mixed_{block}")(x), expected, rtol=1e-4, atol=1e-5)


def test_features_are_the_mean_of_the_last_block_and_the_file_tells_the_variant(nets, tmp_path):
    images = torch.rand(1, 3, 40, 60) * 2 - 1
    classes = {"fid": 1008, "torchvision": 1000}
    for variant, net in nets.items():
        torch.save(
            {
                **net.state_dict(),
                "fc.weight": torch.zeros(1).expand(classes[variant], 2048),
                "AuxLogits.fc.bias": torch.zeros(1),
            },
            tmp_path / f"{variant}.pth",
        )
        features = InstanceFeatures.from_file(tmp_path / f"{variant}.pth")
        assert (features.kind, features.width) == (f"inception-{variant}", 2048)
        last = {}
        hook = features.net.Mixed_7c.register_forward_hook(
            lambda _, inputs, output, last=last: last.update(value=output)
        )
        raw = features.raw(images)
        hook.remove()
        assert last["value"].shape == (1, 2048, 8, 8) and raw.abs().max() > 0
        torch.testing.assert_close(raw, last["value"].mean((2, 3)))
        resized = F.interpolate(images, (299, 299), mode="bilinear")
        torch.testing.assert_close(features.raw(resized), raw)
        torch.testing.assert_close(features(images).norm(dim=1), torch.ones(1))
    rebuilt = InstanceFeatures.from_tensors(features.to_tensors())
    assert torch.equal(rebuilt.raw(images), raw) and rebuilt.kind == "inception-torchvision"


def test_other_files_are_refused(tmp_path):
    state = published_state()
    with pytest.raises(
        InputError, match="some.pth: not the weights of Inception v3: tensors 1 missing .first: Mixed_7c"
    ):
        published_inception(
            {key: value for key, value in state.items() if key != "Mixed_7c.branch_pool.conv.weight"},
            tmp_path / "some.pth",
        )

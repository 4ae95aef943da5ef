"""Frozen features: of published files under all their names, of one length, and the same after a run's file."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from hyperconv.data.images import resize
from hyperconv.errors import InputError
from hyperconv.nn.instance_features import InstanceFeatures
from hyperconv.nn.resnet import ResNet

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def resnet_state(depth=18):
    """A state_dict as torchvision publishes it, classifier included, with statistics unlike those of a new net."""
    torch.manual_seed(depth)
    state = ResNet(depth).state_dict()
    for key, value in state.items():
        if "running_mean" in key:
            state[key] = 0.1 * torch.randn_like(value)
        if "running_var" in key:
            state[key] = torch.rand_like(value) + 0.5
    return {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def state():
    return resnet_state()


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def extractor(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18-f37072fd.pth"
    torch.save(state, path)
    return InstanceFeatures.from_file(path, size=64)


def test_features_are_the_trunk_s_for_imagenet_s_pixels_brought_to_length_one(extractor, state, images):
    trunk = ResNet(18)
    trunk.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})
    with torch.no_grad():
        expected = trunk(((resize(images, (64, 64)) + 1) / 2 - MEAN) / STD)
    assert (expected > 0).double().mean() > 0.3
    torch.testing.assert_close(extractor.raw(images), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(extractor(images), F.normalize(expected, dim=1), rtol=1e-4, atol=1e-5)
    assert (extractor.kind, extractor.width, extractor.size) == ("resnet18", 512, 64)
    assert extractor.name.startswith("resnet18, resnet18-f37072fd.pth (") and extractor.name.endswith("), 64 px")


def test_nothing_trains_and_no_mode_changes_the_function(extractor, images):
    before = extractor.train()(images)
    assert not list(extractor.parameters()) and not before.requires_grad
    assert torch.equal(extractor.requires_grad_(True).eval()(images), before)
    assert "net.layer4.1.bn2.weight" in extractor.state_dict()
    pixels = images[:1].clone().requires_grad_()
    extractor(pixels).square().mean().backward()
    extractor.raw(pixels).sum().backward()
    assert pixels.grad.any()


def test_grey_images_are_seen_as_three_equal_channels(extractor, images):
    grey = images.mean(1, keepdim=True)
    assert torch.equal(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))


def test_many_images_in_chunks_as_floats_or_bytes(extractor):
    pixels = torch.randint(256, (5, 3, 40, 40), dtype=torch.uint8)
    whole = extractor(pixels / 127.5 - 1)
    torch.testing.assert_close(extractor.of_all(pixels, chunk=2), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(extractor.of_all(pixels / 127.5 - 1, chunk=4), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(F.normalize(extractor.of_all(pixels, raw=True), dim=1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder_q."])
@pytest.mark.parametrize("nested", [False, True])
def test_checkpoints_of_self_supervised_trainings(extractor, state, images, tmp_path, prefix, nested):
    """SwAV's file is {'module.conv1.weight': ...} with a projection head and prototypes, MoCo's is nested and has two nets."""
    named = {f"{prefix}{key}": value for key, value in state.items()}
    if prefix == "module.":
        named |= {"module.projection_head.0.weight": torch.zeros(8, 512), "module.prototypes.weight": torch.zeros(9, 8)}
    if prefix == "module.encoder_q.":
        named |= {f"module.encoder_k.{key}": torch.zeros_like(value) for key, value in state.items()}
        named["module.queue"] = torch.zeros(8, 16)
    torch.save(
        {"epoch": 200, "arch": "resnet18", "state_dict": named} if nested else named, tmp_path / "trained.pth.tar"
    )
    loaded = InstanceFeatures.from_file(tmp_path / "trained.pth.tar", size=64)
    assert torch.equal(loaded(images), extractor(images))


def test_the_depth_is_read_from_the_file(tmp_path):
    for depth in (34, 50):
        state = {key: value for key, value in resnet_state(depth).items() if not key.endswith("tracked")}
        save_file(state, tmp_path / "some.safetensors")
        features = InstanceFeatures.from_file(tmp_path / "some.safetensors", size=32)
        assert (features.kind, features.width) == (f"resnet{depth}", 512 if depth == 34 else 2048)
        assert features(torch.zeros(1, 1, 32, 32)).shape == (1, features.width)


def test_what_a_run_keeps_gives_the_same_features(extractor, images, tmp_path):
    save_file({key: value.contiguous() for key, value in extractor.to_tensors().items()}, tmp_path / "kept.safetensors")
    from safetensors.torch import load_file

    rebuilt = InstanceFeatures.from_tensors(load_file(tmp_path / "kept.safetensors"))
    assert torch.equal(rebuilt(images), extractor(images))
    assert (rebuilt.name, rebuilt.kind, rebuilt.width) == (extractor.name, extractor.kind, extractor.width)
    assert not list(rebuilt.parameters())


def test_files_and_tensors_that_are_something_else(extractor, state, tmp_path):
    def refused(content, told):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(InputError, match=f"other.pth: {told}"):
            InstanceFeatures.from_file(tmp_path / "other.pth")

    refused({"a": torch.zeros(1)}, "not the weights of a ResNet of 18, 34, 50 layers")
    refused({key: value for key, value in state.items() if "layer3.1" not in key}, "not the weights of a ResNet of")
    refused({**state, "bn1.weight": torch.zeros(3)}, "not the weights of a ResNet: tensors 1 of another shape")
    refused([1], "holds no state_dict")
    refused({"state_dict": {"layer": 3}}, "holds no state_dict")
    with pytest.raises(InputError, match="no such file"):
        InstanceFeatures.from_file(tmp_path / "absent.pth")
    tensors = extractor.to_tensors()
    for wrong in (
        {},
        {**tensors, "about": tensors["about"][1:]},
        {**tensors, "net.bn1.weight": torch.zeros(2)},
        {key: value for key, value in tensors.items() if key != "net.conv1.weight"},
    ):
        with pytest.raises(InputError, match="not the tensors of instance features"):
            InstanceFeatures.from_tensors(wrong)
    with pytest.raises(ValueError, match="3, H, W., got"):
        extractor(torch.zeros(1, 2, 8, 8))


@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_built_on_the_meta_device_it_scales_pixels_as_the_one_whose_state_it_loads(extractor, images, assign):
    """The scaling is not in the state_dict: loading one fills it."""
    with torch.device("meta"):
        features = InstanceFeatures(ResNet(18), "resnet18", "resnet18", 512, 3, size=64)
    if not assign:
        features.to_empty(device="cpu").input_scale.fill_(float("nan"))
    features.load_state_dict(extractor.state_dict(), assign=assign)
    assert torch.equal(features(images), extractor(images))

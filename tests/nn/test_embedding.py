import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from skimage import data

from hyperconv.errors import InputError
from hyperconv.nn.embedding import ConvEmbedding, InstanceEmbedding, ResNetEmbedding, build_embedding
from hyperconv.nn.instance_features import InstanceFeatures
from hyperconv.nn.resnet import FixedBatchNorm2d, ResNet, fixed_norms

NAMES = ("resnet18", "resnet34", "resnet50", "conv")
FROZEN = ("contrastive", "frozen-resnet18", "frozen-resnet50")


@pytest.fixture(scope="module")
def photos():
    images = [torch.tensor(image()).permute(2, 0, 1) for image in (data.astronaut, data.coffee, data.chelsea)]
    squashed = [F.interpolate(image[None] / 127.5 - 1, (128, 128), mode="bilinear") for image in images]
    return torch.cat(squashed)


@pytest.fixture(scope="module")
def calibrated(photos):
    torch.manual_seed(0)
    embedding = ResNetEmbedding(18, features=32)
    embedding.calibrate(photos)
    return embedding


def built(name, photos, features):
    torch.manual_seed(0)
    embedding = build_embedding(name, features, size=64)
    if name != "conv":
        embedding.calibrate(photos)
    return embedding


def relative_distances(embeddings):
    norms = embeddings.norm(dim=1)
    distances = torch.cdist(embeddings, embeddings) / ((norms + norms[:, None]) / 2)
    return distances[~torch.eye(len(embeddings), dtype=torch.bool)]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(InstanceEmbedding, "STEPS", 5)


@pytest.mark.parametrize("name", NAMES + FROZEN)
@torch.no_grad()
def test_batch_mates_and_mode_do_not_matter(name, photos):
    embedding = built(name, photos, features=16)
    together = embedding.train()(photos)
    assert together.shape == (3, 16)
    assert torch.equal(embedding.eval()(photos), together)
    for mode in (embedding.train(), embedding.eval()):
        for i in range(3):
            torch.testing.assert_close(mode(photos[i : i + 1])[0], together[i], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_flow_to_every_parameter_and_pixel(name, photos):
    embedding = built(name, photos, features=8)
    image = photos[:1].clone().requires_grad_()
    embedding(image).square().sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in embedding.parameters())


@pytest.mark.parametrize(
    ("depth", "parameters", "width", "convolutions"),
    [(18, 11_689_512, 512, 20), (34, 21_797_672, 512, 36), (50, 25_557_032, 2048, 53)],
)
def test_architecture_is_the_published_one(depth, parameters, width, convolutions):
    """Parameter counts of the published classifiers, their 1000-way `fc` included."""
    with torch.device("meta"):
        state = ResNet(depth).state_dict()
        trunk = ResNet(depth)
    assert sum(p.numel() for p in trunk.parameters()) + width * 1000 + 1000 == parameters
    # one norm of five entries behind every convolution
    assert len(state) == 6 * convolutions
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["bn1.running_var"] == (64,) and shapes["bn1.num_batches_tracked"] == ()
    wide = 4 if depth == 50 else 1
    assert shapes["layer2.0.downsample.0.weight"] == (128 * wide, 64 * wide, 1, 1)
    assert shapes["layer2.0.downsample.1.running_mean"] == (128 * wide,)
    assert ("layer1.0.downsample.0.weight" in shapes) == (depth == 50)
    last = "layer4.2" if depth > 18 else "layer4.1"
    if depth == 50:
        assert shapes["layer1.0.conv1.weight"] == (64, 64, 1, 1)
        assert shapes[f"{last}.conv3.weight"] == (2048, 512, 1, 1) and shapes[f"{last}.bn3.bias"] == (2048,)
    else:
        assert shapes["layer1.0.conv1.weight"] == (64, 64, 3, 3)
        assert shapes[f"{last}.conv2.weight"] == (512, 512, 3, 3) and f"{last}.conv3.weight" not in shapes


def test_the_stride_of_a_bottleneck_is_in_its_3x3_convolution():
    """The published ResNet-50 weights (called v1.5) were trained so."""
    with torch.device("meta"):
        block = ResNet(50).layer2[0]
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


def test_fixed_batch_norm_is_batch_norm_in_inference():
    norm, reference = FixedBatchNorm2d(3), torch.nn.BatchNorm2d(3).eval()
    x = torch.randn(4, 3, 5, 5) * 3 + 1
    norm.measure(x)
    reference.load_state_dict(norm.state_dict())
    torch.testing.assert_close(norm(x), reference(x))
    torch.testing.assert_close(norm(x).mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm(x).var((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


@torch.no_grad()
def test_calibration_normalises_every_layer_and_then_stays(calibrated, photos):
    outputs = {}
    norms = list(fixed_norms(calibrated))
    hooks = [norm.register_forward_hook(lambda norm, _, out: outputs.update({norm: out})) for norm in norms]
    before = calibrated(photos)
    for hook in hooks:
        hook.remove()
    assert len(outputs) == 20
    for out in outputs.values():
        assert out.mean((0, 2, 3)).abs().max() < 1e-3
        assert (out.var((0, 2, 3), correction=0) - 1).abs().max() < 0.02
    assert calibrated.calibrated
    calibrated.calibrate(photos[:1] * 0.1)
    assert torch.equal(calibrated(photos), before)


@torch.no_grad()
def test_statistics_travel_with_the_state_dict(calibrated, photos):
    other = ResNetEmbedding(18, features=32)
    assert not other.calibrated
    other.load_state_dict(calibrated.state_dict())
    assert other.calibrated
    assert torch.equal(other(photos), calibrated(photos))


def test_calibration_failing_halfway_leaves_no_hooks():
    embedding = ResNetEmbedding(18, features=4)
    with pytest.raises(ValueError, match=r"\(2, 1, 64, 64\), expected \(B, 3, S, S\)"):
        embedding.calibrate(torch.zeros(2, 1, 64, 64))
    with pytest.raises(ValueError, match="empty"):
        embedding.calibrate(torch.zeros(0, 3, 64, 64))
    assert not any(norm._forward_pre_hooks for norm in fixed_norms(embedding))


@pytest.fixture(scope="module")
def published(calibrated):
    """A state_dict as published: trunk and classifier."""
    state = {name: value.clone() for name, value in calibrated.trunk.state_dict().items()}
    return {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("counters", [True, False])
@torch.no_grad()
def test_published_weights_load_from_a_file(tmp_path, published, photos, suffix, counters):
    path = tmp_path / f"resnet18{suffix}"
    state = {k: v for k, v in published.items() if counters or not k.endswith("num_batches_tracked")}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    embedding = build_embedding("resnet18", features=8, weights=path)
    assert embedding.calibrated
    for name, value in embedding.trunk.state_dict().items():
        assert torch.equal(value, published[name])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = ((photos + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    expected = embedding.projection(embedding.trunk(normalised))
    torch.testing.assert_close(embedding(photos), expected, rtol=1e-4, atol=1e-4)
    rebuilt = build_embedding("resnet18", features=8)
    rebuilt.load_state_dict(embedding.state_dict())
    assert torch.equal(rebuilt(photos), embedding(photos))


@torch.no_grad()
def test_grey_photos_are_seen_as_three_equal_channels(tmp_path, published, photos):
    torch.save(published, tmp_path / "resnet18.pth")
    grey = build_embedding("resnet18", 8, 1, tmp_path / "resnet18.pth")
    colour = build_embedding("resnet18", 8, 3, tmp_path / "resnet18.pth")
    colour.load_state_dict(grey.state_dict())
    luminance = photos.mean(1, keepdim=True)
    torch.testing.assert_close(grey(luminance), colour(luminance.repeat(1, 3, 1, 1)))


def test_files_that_do_not_fit_are_named(tmp_path, published):
    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match="weights.pth: no such file"):
        build_embedding("resnet18", weights=path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(InputError, match="cannot be read as network weights"):
        build_embedding("resnet18", weights=path)
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    with pytest.raises(InputError, match="cannot be read as network weights"):
        build_embedding("resnet18", weights=tmp_path / "cut.safetensors")
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds no state_dict"):
        build_embedding("resnet18", weights=path)
    torch.save(published, path)
    missing = r"not the weights of resnet34: tensors 80 missing \(first: layer1.2.conv1.weight\)$"
    with pytest.raises(InputError, match=missing):
        build_embedding("resnet34", weights=path)
    wrong = {**published, "bn1.weight": torch.ones(3), "extra": torch.ones(1)}
    torch.save(wrong, path)
    others = r"1 unexpected \(first: extra\), 1 of another shape \(first: bn1.weight\)$"
    with pytest.raises(InputError, match=others):
        build_embedding("resnet18", weights=path)


class Surprise:
    def __reduce__(self):
        return print, ("ran",)


def test_weight_files_run_no_code(tmp_path, capsys):
    torch.save({"conv1.weight": Surprise()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read"):
        build_embedding("resnet18", weights=tmp_path / "evil.pth")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_different_photos_start_with_clearly_different_embeddings(photos, seed):
    torch.manual_seed(seed)
    embeddings = ConvEmbedding(64, width=16)(photos)
    assert embeddings.square().mean().item() == pytest.approx(1, abs=0.4)
    assert embeddings.var(0).mean().item() > 0.4
    assert relative_distances(embeddings).min() > 0.5


@torch.no_grad()
def test_calibrated_resnets_tell_photos_apart(calibrated, photos):
    assert relative_distances(calibrated(photos)).min() > 0.2


@pytest.mark.parametrize("size", [17, 20, 33, 64])
def test_conv_embedding_takes_any_size_and_flat_photos(size):
    embedding = ConvEmbedding(5, in_channels=1, width=8)
    out = embedding(torch.full((2, 1, size, size + 3), 0.5))
    assert out.shape == (2, 5) and out.isfinite().all()


@pytest.mark.parametrize("name", FROZEN)
def test_instance_features_never_train_and_their_linear_map_does(name, photos):
    embedding = built(name, photos, features=16)
    assert [key for key, _ in embedding.named_parameters()] == ["projection.weight", "projection.bias"]
    before = embedding.prior(photos)
    embedding.requires_grad_(True)(photos).square().sum().backward()
    torch.optim.SGD(embedding.parameters(), 0.1).step()
    assert torch.equal(embedding.prior(photos), before)
    assert embedding.projection.weight.grad.any()


@pytest.mark.parametrize("name", FROZEN)
@torch.no_grad()
def test_instance_embeddings_start_with_mean_square_one_half_of_it_shared_and_tell_photos_apart(name, photos):
    embedding = built(name, photos, features=512)
    standard = embedding.prior(photos)
    torch.testing.assert_close(standard.mean(0), torch.zeros(embedding.prior.width), rtol=0, atol=1e-4)
    assert standard.square().mean().item() == pytest.approx(1, rel=1e-3)
    assert embedding(photos).square().mean().item() == pytest.approx(1, abs=0.3)
    assert embedding(photos).var(0, correction=0).mean().item() == pytest.approx(0.5, abs=0.15)
    assert relative_distances(embedding(photos)).min() > 0.5


@torch.no_grad()
def test_a_frozen_embedding_is_rebuilt_without_its_file(tmp_path, published, photos):
    path = tmp_path / "resnet18.pth"
    torch.save(published, path)
    embedding = build_embedding("frozen-resnet18", 8, 3, path, size=64)
    features = InstanceFeatures.from_file(path, size=64)(photos)
    embedding.calibrate(photos)
    torch.testing.assert_close(
        F.normalize(embedding.prior(photos)), F.normalize(features - features.mean(0)), rtol=1e-3, atol=1e-4
    )
    rebuilt = build_embedding("frozen-resnet18", 8, 3, size=64)
    rebuilt.load_state_dict(embedding.state_dict())
    assert torch.equal(rebuilt(photos), embedding(photos))
    rebuilt.calibrate(photos[:1] * 0.1)
    assert torch.equal(rebuilt(photos), embedding(photos))
    with pytest.raises(InputError, match="holds a resnet18, and the embedding is to be of a resnet50"):
        build_embedding("frozen-resnet50", weights=path)


def test_arguments_out_of_range():
    with pytest.raises(InputError, match="unknown embedding 'resnet19'.*resnet18, resnet34, resnet50, conv"):
        build_embedding("resnet19")
    for name in ("conv", "contrastive"):
        with pytest.raises(InputError, match=f"{name}' has no published weights"):
            build_embedding(name, weights="some.pth")
    with pytest.raises(ValueError, match="depth must be one of 18, 34, 50, got 19"):
        ResNetEmbedding(19)
    with pytest.raises(ValueError, match="in_channels must be 1 .* got 4"):
        ResNetEmbedding(18, in_channels=4)
    with pytest.raises(ValueError, match="multiple of 8, got 12"):
        ConvEmbedding(width=12)
    with pytest.raises(ValueError, match="16x20.*at least 17x17"):
        ConvEmbedding()(torch.zeros(1, 3, 16, 20))


def test_conv_embedding_relu_is_centred():
    x = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)).relu()
    assert x.mean().item() == pytest.approx(ConvEmbedding.RELU_MEAN, abs=3e-3)
    assert x.std().item() == pytest.approx(ConvEmbedding.RELU_STD, abs=3e-3)
    assert math.isclose(ConvEmbedding.RELU_MEAN, 0.39894228, rel_tol=1e-6)

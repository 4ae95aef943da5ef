"""The generic tools' cases: what each is compared on, and everything one would use in its place."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import networks
from hyperconv import (
    HyperConv2d,
    WeightLayout,
    WeightSet,
    hyperize,
    modulated_conv2d,
    per_sample_gradients,
    use_backend,
)
from hyperconv.bench.rivals import OURS
from hyperconv.nn.resnet import ResNet

PACKAGES = {"hyperlight": "HyperLight", "hypernn.torch": "hyper-nn", "opacus": "Opacus"}

Results = dict[str, Tensor]


@dataclass
class Case:
    """One row of a table: rivals by name, and what they must all give."""

    tool: str
    name: str
    phase: str
    rivals: dict[str, Callable[[], Results]]
    exact: Callable[[], Results]


def available(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def on_reference(function: Callable) -> Callable:
    """This package without its kernels: grouped convolution."""

    def run(*args):
        with use_backend("reference"):
            return function(*args)

    return run


# --- hyperize -------------------------------------------------------------------------------------------------------

Apply = Callable[[Tensor, Tensor], Tensor]
"""(images (N, ...), flat weights (N, P)) -> outputs (N, ...)"""


def appliers(module: nn.Module) -> dict[str, Apply]:
    """Every way to run `module` with a weight set of its own for every sample."""
    net = hyperize(module, 1)
    layout = net.hypernetwork.layout
    names = layout.names

    def one(weights: Results, image: Tensor) -> Tensor:
        return torch.func.functional_call(module, weights, (image.unsqueeze(0),)).squeeze(0)

    def loop(x: Tensor, flat: Tensor) -> Tensor:
        weights = layout.split(flat)
        return torch.stack([one({name: weights[name][n] for name in names}, image) for n, image in enumerate(x)])

    rivals = {
        OURS: lambda x, flat: net(x, WeightSet(layout, flat)),
        "vmap": lambda x, flat: torch.func.vmap(one)(layout.split(flat), x),
        "loop": loop,
    }
    if available("hyperlight"):
        rivals["HyperLight"] = hyperlight(module, layout)
    if available("hypernn.torch"):
        rivals["hyper-nn"] = hyper_nn(module)
    return rivals


def hyperlight(module: nn.Module, layout: WeightLayout) -> Apply:
    """HyperLight's modules hold one weight set at a time."""
    from hyperlight import hypernetize

    template = copy.deepcopy(module)
    template = hypernetize(template, parameters=list(template.parameters()))

    def apply(x: Tensor, flat: Tensor) -> Tensor:
        weights, outputs = layout.split(flat), []
        for n, image in enumerate(x.split(1)):
            with template.using_externals({name: weights[name][n] for name in layout.names}):
                outputs.append(template(image))
        return torch.cat(outputs)

    return apply


def hyper_nn(module: nn.Module) -> Apply:
    """hyper-nn's target network takes one vector of weights."""
    from hypernn.torch import TorchHyperNetwork

    target = TorchHyperNetwork(copy.deepcopy(module))

    def apply(x: Tensor, flat: Tensor) -> Tensor:
        vectors = flat.unbind()
        return torch.cat([target.target_forward(x[n : n + 1], generated_params=vectors[n]) for n in range(len(x))])

    return apply


def run_network(apply: Apply, phase: str, x: Tensor, flat: Tensor) -> Results:
    if phase == "forward":
        with torch.no_grad():
            return {"output": apply(x, flat)}
    output = apply(x, flat)
    if phase == "forward + backward":
        by_x, by_weights = torch.autograd.grad(output.square().mean(), (x, flat))
        return {"output": output.detach(), "by x": by_x, "by weights": by_weights}
    (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return {"slope": slope.detach(), "by weights": torch.autograd.grad(penalty, flat)[0]}


def hyperize_cases(batch: int, device: str) -> Iterator[Case]:
    plain_norm = partial(nn.GroupNorm, 4, affine=False)
    for name, module, size in [
        ("ResNet-20, 32 px", networks.resnet(plain_norm), 32),
        ("U-Net, 64 px", networks.UNet(), 64),
        ("DCGAN critic, 32 px", networks.critic(), 32),
    ]:
        module = module.to(device)
        x = torch.randn(batch, 3, size, size, device=device).requires_grad_()
        flat = (
            hyperize(module, 16)
            .to(device)
            .weights(torch.randn(batch, 16, device=device))
            .flat.detach()
            .requires_grad_()
        )
        exact = appliers(copy.deepcopy(module).double())["loop"]
        wide = [tensor.detach().double().requires_grad_() for tensor in (x, flat)]
        phases = ["forward", "forward + backward"] + ["gradient penalty"] * ("critic" in name)
        for phase in phases:
            rivals = {key: partial(run_network, apply, phase, x, flat) for key, apply in appliers(module).items()}
            rivals[f"{OURS}-reference"] = on_reference(rivals[OURS])
            yield Case("hyperize", name, phase, rivals, partial(run_network, exact, phase, *wide))


# --- HyperConv2d in place of nn.Conv2d: one weight for all samples ---------------------------------------------------


def with_layers(module: nn.Module, kind: type[nn.Conv2d]) -> nn.Module:
    """A copy whose convolutions, all with zeros around, are of another class, on the same numbers."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Conv2d):
                new = kind(
                    layer.in_channels,
                    layer.out_channels,
                    layer.kernel_size,
                    layer.stride,
                    layer.padding,
                    layer.dilation,
                    layer.groups,
                    layer.bias is not None,
                )
                new.load_state_dict(layer.state_dict())
                setattr(parent, name, new.to(layer.weight))
    return module


def run_module(module: nn.Module, phase: str, x: Tensor) -> Results:
    if phase == "forward":
        with torch.no_grad():
            return {"output": module(x)}
    output = module(x)
    gradients = torch.autograd.grad(output.square().mean(), [x, *module.parameters()])
    return {
        "output": output.detach(),
        "by x": gradients[0],
        "by weights": torch.cat([g.flatten() for g in gradients[1:]]),
    }


def drop_in_cases(batch: int, device: str) -> Iterator[Case]:
    for name, module, size in [
        ("ResNet-34, 224 px", ResNet(34), 224),
        ("ResNet-20, 32 px", networks.resnet(partial(nn.GroupNorm, 4)), 32),
        ("U-Net, 64 px", networks.UNet(), 64),
        ("DCGAN critic, 32 px", networks.critic(), 32),
    ]:
        modules = {OURS: with_layers(module, HyperConv2d), "nn.Conv2d": with_layers(module, nn.Conv2d)}
        x = torch.randn(batch, 3, size, size, device=device).requires_grad_()
        exact, wide = copy.deepcopy(modules["nn.Conv2d"]).to(device).double(), x.detach().double().requires_grad_()
        for phase in ("forward", "forward + backward"):
            rivals = {key: partial(run_module, rival.to(device), phase, x) for key, rival in modules.items()}
            yield Case(
                "HyperConv2d in place of nn.Conv2d", name, phase, rivals, partial(run_module, exact, phase, wide)
            )


# --- modulated_conv2d -----------------------------------------------------------------------------------------------


def built_weights(weight: Tensor, style: Tensor) -> Tensor:
    """(N, C_out, C_in, k, k), modulated and demodulated: StyleGAN2's equations as they are written."""
    weights = weight.unsqueeze(0) * style[:, None, :, None, None]
    return weights * torch.rsqrt(weights.square().sum((2, 3, 4), keepdim=True) + 1e-8)


def blur(x: Tensor) -> Tensor:
    """(1, 3, 3, 1) along both axes, one pixel of padding, times four: after putting zeros between pixels."""
    line = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype, device=x.device) / 4
    return F.conv2d(x, torch.outer(line, line).expand(x.shape[1], 1, 4, 4), padding=1, groups=x.shape[1])


def grouped(x: Tensor, weight: Tensor, style: Tensor, up: int) -> Tensor:
    """StyleGAN2's fused form, its default: samples become groups of one convolution."""
    n, channels, height, width = x.shape
    weights = built_weights(weight, style)
    folded = x.reshape(1, n * channels, height, width)
    if up == 1:
        out = F.conv2d(folded, weights.flatten(0, 1), padding=weight.shape[2] // 2, groups=n)
        return out.reshape(n, -1, height, width)
    flipped = weights.transpose(1, 2).flip(3, 4).flatten(0, 1)
    out = F.conv_transpose2d(folded, flipped, stride=2, groups=n)
    return blur(out.reshape(n, -1, *out.shape[2:]))


def sample_loop(x: Tensor, weight: Tensor, style: Tensor, up: int) -> Tensor:
    """One convolution per sample."""
    pairs = list(zip(x.split(1), built_weights(weight, style)))
    if up == 1:
        return torch.cat([F.conv2d(image, kernel, padding=kernel.shape[2] // 2) for image, kernel in pairs])
    flipped = [(image, kernel.transpose(0, 1).flip(2, 3)) for image, kernel in pairs]
    return blur(torch.cat([F.conv_transpose2d(image, kernel, stride=2) for image, kernel in flipped]))


MODULATIONS = {
    OURS: lambda x, weight, style, up: modulated_conv2d(x, weight, style, up=up),
    "grouped": grouped,
    "loop": sample_loop,
}


def run_modulation(apply, up: int, phase: str, x: Tensor, weight: Tensor, style: Tensor) -> Results:
    leaves = (x, weight, style)
    if phase == "forward":
        with torch.no_grad():
            return {"output": apply(*leaves, up)}
    output = apply(*leaves, up)
    if phase == "forward + backward":
        gradients = torch.autograd.grad(output.square().mean(), leaves)
        return {"output": output.detach(), **dict(zip(("x", "weight", "style"), gradients))}
    (slope,) = torch.autograd.grad(output.square().mean(), style, create_graph=True)  # as the path length penalty
    return dict(zip(("weight", "style"), torch.autograd.grad(slope.square().sum(), (weight, style))))


def modulated_cases(batch: int, device: str) -> Iterator[Case]:
    for channels, size, up in [(512, 8, 1), (256, 16, 1), (128, 32, 1), (64, 64, 1), (256, 16, 2), (128, 32, 2)]:
        x = torch.randn(batch, channels, size, size, device=device).requires_grad_()
        weight = torch.randn(channels, channels, 3, 3, device=device).requires_grad_()
        style = (1 + torch.randn(batch, channels, device=device) / 2).requires_grad_()
        wide = [tensor.detach().double().requires_grad_() for tensor in (x, weight, style)]
        for phase in ("forward", "forward + backward", "double backward by style"):
            rivals = {
                key: partial(run_modulation, apply, up, phase, x, weight, style) for key, apply in MODULATIONS.items()
            }
            name = f"{channels} channels, {size} px" + ", up 2" * (up > 1)
            yield Case("modulated_conv2d", name, phase, rivals, partial(run_modulation, sample_loop, up, phase, *wide))


# --- per_sample_gradients -------------------------------------------------------------------------------------------

losses_of = partial(F.cross_entropy, reduction="none")


def gradients_by_vmap(module: nn.Module, x: Tensor, y: Tensor) -> Results:
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def loss(parameters: Results, image: Tensor, target: Tensor) -> Tensor:
        return losses_of(torch.func.functional_call(module, parameters, (image[None],)), target[None]).sum()

    return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)


def gradients_by_loop(module: nn.Module, x: Tensor, y: Tensor) -> Results:
    names, parameters = zip(*module.named_parameters())
    rows = [
        torch.autograd.grad(losses_of(module(image), target).sum(), parameters)
        for image, target in zip(x.split(1), y.split(1))
    ]
    return {name: torch.stack(column) for name, column in zip(names, zip(*rows))}


def gradients_by_expanded_weights(module: nn.Module, x: Tensor, y: Tensor) -> Results:
    """What torch has for Opacus' mode 'ew'."""
    from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

    losses_of(call_for_per_sample_grads(module, loss_reduction="sum")(x), y).sum().backward()
    result = {name: parameter.grad_sample for name, parameter in module.named_parameters()}
    for parameter in module.parameters():
        del parameter.grad_sample
        parameter.grad = None
    return result


def opacus_gradients(module: nn.Module) -> Callable[[nn.Module, Tensor, Tensor], Results]:
    from opacus.grad_sample import GradSampleModule

    wrapped = GradSampleModule(copy.deepcopy(module), loss_reduction="sum")

    def apply(_: nn.Module, x: Tensor, y: Tensor) -> Results:
        losses_of(wrapped(x), y).sum().backward()
        result = {name: parameter.grad_sample for name, parameter in wrapped._module.named_parameters()}
        wrapped.zero_grad(set_to_none=True)
        return result

    return apply


def gradient_cases(batch: int, device: str) -> Iterator[Case]:
    norm = partial(nn.GroupNorm, 4)
    for name, module in [
        ("ResNet-20, 32 px", networks.resnet(norm)),
        ("3 convolutions, 32 px", networks.convnet(norm)),
    ]:
        module = module.to(device)
        x = torch.randn(4 * batch, 3, 32, 32, device=device)
        y = torch.randint(10, (4 * batch,), device=device)
        rivals = {
            OURS: lambda module, x, y: per_sample_gradients(module, losses_of, x, y),
            "vmap(grad)": gradients_by_vmap,
            "loop": gradients_by_loop,
            "expanded weights": gradients_by_expanded_weights,
        }
        if available("opacus"):
            rivals["Opacus"] = opacus_gradients(module)
        rivals = {key: partial(function, module, x, y) for key, function in rivals.items()}
        rivals[f"{OURS}-reference"] = on_reference(rivals[OURS])
        exact = partial(gradients_by_loop, copy.deepcopy(module).double(), x.double(), y)
        yield Case("per_sample_gradients", name, f"{4 * batch} gradients", rivals, exact)


CASES = (hyperize_cases, modulated_cases, gradient_cases, drop_in_cases)

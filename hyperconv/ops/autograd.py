"""The operators' kernels for the Autograd key: what records a call, and how a transform of torch.func takes one."""

import torch
from torch.autograd import forward_ad

from hyperconv.ops import backends, reference, shortcut
from hyperconv.ops.derivatives import FORMULAS
from hyperconv.ops.schema import operator, public

_transforms_active = torch._C._are_functorch_transforms_active
_unwrap = torch._C._functorch.unwrap_if_dead
_is_batched = torch._C._functorch.is_legacy_batchedtensor
_DEVICES_ONLY = tuple(torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key)) for key in ("CPU", "CUDA"))


def _batched(cotangent) -> bool:
    """Whether it stands for several, as in `torch.autograd.grad(..., is_grads_batched=True)`: nothing else tells."""
    return cotangent is not None and _is_batched(cotangent)


def _not_a_leaf(argument):
    """A leaf as an alias: asked whether `autograd.grad` wants a leaf, the engine raises an error, which is slow.

    Indexed by `...`, because that is the one view whose derivative does nothing.
    """
    if argument is not None and argument.requires_grad and argument.is_leaf:
        return argument[...]
    return argument


def _autograd_kernel(name: str, setup, backward):
    """The operator's kernel for the Autograd key: `setup(ctx, tensors, settings, output)`, `backward(ctx, *grads)`.

    Its derivative takes the keys of the dispatch that is left to do, or None where that is the kernel's call alone.

    `torch.library.register_autograd` does the same but reads the schema anew at every recorded call (torch 2.13),
    and knows the reverse direction only: `torch.func.jvp` would pass it by and report zero, and `torch.func.grad` would
    fail. Here both go to the reference, which PyTorch differentiates in every way it can.
    """
    op, composite, implementation = operator(name), getattr(reference, name), backends.implementation(name)
    count = shortcut.TENSORS[name]
    nothing = (None,) * (count + 2)

    def below_autograd(args, keyset):
        remaining = keyset & torch._C._after_autograd_keyset
        with torch._C._AutoDispatchBelowAutograd():
            # With nothing else in between, the call itself, without another trip through the dispatcher.
            return implementation(*args) if remaining in _DEVICES_ONLY else op.redispatch(remaining, *args)

    class Derivative(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors_args_keyset):
            *tensors, args, keyset = tensors_args_keyset
            output = implementation(*args) if keyset is None else below_autograd(args, keyset)
            ctx.set_materialize_grads(False)
            setup(ctx, tensors, args[count:], output)
            return output

        @staticmethod
        def backward(ctx, *cotangents):
            if cotangents[0] is None is cotangents[-1]:
                return nothing
            if _batched(cotangents[0]) or _batched(cotangents[-1]):
                with shortcut.closed():  # the dispatcher runs, and records, each of the batch
                    grads = backward(ctx, *cotangents)
            else:
                grads = backward(ctx, *cotangents)
            return (*grads, *nothing[len(grads) :])

    # `Derivative.apply` without its part in Python, which serves transforms of torch.func; those never come here.
    apply = super(torch.autograd.Function, Derivative).apply

    def record(args, keyset=None):
        first, second, *others = [tensor if tensor is None else _unwrap(tensor) for tensor in args[:count]]
        return apply(_not_a_leaf(first), _not_a_leaf(second), *others, args, keyset)

    def kernel(keyset, *args):
        if forward_ad._current_level >= 0 or _transforms_active():
            return composite(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return record(args, keyset)
        return below_autograd(args, keyset)

    Derivative.__name__ = Derivative.__qualname__ = f"hyperconv_{name}"
    shortcut.record[name] = record
    return kernel


for _name, _formula in FORMULAS.items():
    public.impl(_name, _autograd_kernel(_name, *_formula), "Autograd", with_keyset=True)

"""vmap and autocast of the six operators."""

import torch
from torch import Tensor

from hyperconv.ops.schema import OPERATIONS, operator, public

# Per operator: the arguments that hold one entry per weight set, and the position of the `weight_sets` count.
_SET_TENSORS = {"conv2d": (1, 2), "masked_conv2d": (1, 2), "input_gradient": (1,)}
_SET_COUNT = {"weight_gradient": 3, "bias_gradient": 2, "parameter_gradients": 3}


def _vmap_rule(name: str):
    """vmap is the operator itself on V times the samples and V times the weight sets."""
    op, set_tensors, set_count = operator(name), _SET_TENSORS.get(name, ()), _SET_COUNT.get(name)

    def rule(info, in_dims, *args):
        args, count = list(args), info.batch_size
        shared = _one_set_for_all(args, in_dims, set_tensors)
        for index, value in enumerate(args):
            if isinstance(value, Tensor) and not (shared and index in set_tensors):
                args[index] = _fold(value, in_dims[index], count)
        if set_count is not None:
            args[set_count] *= count
        result = op(*args)
        if isinstance(result, Tensor):
            return _unfold(result, count), 0
        return tuple(_unfold(output, count) for output in result), (0,) * len(result)

    return rule


def _one_set_for_all(args: list, in_dims: tuple, set_tensors: tuple[int, ...]) -> bool:
    """Whether all samples of all V calls read the same single weight set."""
    given = [index for index in set_tensors if args[index] is not None]
    return bool(given) and all(in_dims[index] is None and args[index].shape[0] == 1 for index in given)


def _fold(tensor: Tensor, dim: int | None, count: int) -> Tensor:
    """(V, n, ...) -> (V * n, ...); a tensor without the dimension is expanded."""
    if dim is None:
        return tensor.expand(count, *tensor.shape).flatten(0, 1)
    return tensor.movedim(dim, 0).flatten(0, 1)


def _unfold(tensor: Tensor, count: int) -> Tensor:
    """The inverse of `_fold`."""
    return tensor.unflatten(0, (count, tensor.shape[0] // count))


def _autocast_rule(name: str, device_type: str):
    """Run in the region's dtype, as PyTorch's own convolution does; float64 is left alone.

    In the gradients, tensors that have a low precision already decide it: a backward pass may run in a thread
    that does not know the region's dtype.
    """
    op = operator(name)

    def rule(*args):
        casts = [index for index, value in enumerate(args) if _eligible(value, device_type)]
        dtype = next((args[i].dtype for i in casts if args[i].dtype != torch.float32), None)
        if dtype is None or name == "conv2d":
            dtype = torch.get_autocast_dtype(device_type)
        args = [value.to(dtype) if index in casts else value for index, value in enumerate(args)]
        with torch.autocast(device_type, enabled=False):
            return op(*args)

    return rule


def _eligible(value: object, device_type: str) -> bool:
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.dtype != torch.float64
        and value.device.type == device_type
    )


for _name in OPERATIONS:
    torch.library.register_vmap(f"hyperconv::{_name}", _vmap_rule(_name), lib=public)
    public.impl(_name, _autocast_rule(_name, "cpu"), "AutocastCPU")
    public.impl(_name, _autocast_rule(_name, "cuda"), "AutocastCUDA")

"""Triton kernels of the operators in `hyperconv.ops`, for CUDA GPUs; in Triton's interpreter they run on the CPU.

The operators are attributes of this module, as of every backend, and so is `masked`; Triton is imported at the first one.
"""

OPERATIONS = (
    "conv2d",
    "masked_conv2d",
    "input_gradient",
    "weight_gradient",
    "bias_gradient",
    "parameter_gradients",
)


def __getattr__(name: str):
    if name not in (*OPERATIONS, "masked"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hyperconv.kernels import operations

    globals()[name] = getattr(operations, name)
    return globals()[name]

"""Per-sample convolution as operators; knows nothing of networks."""

from hyperconv.ops import autograd, backends, flops, transforms  # noqa: F401  (register kernels and rules)

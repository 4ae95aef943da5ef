"""Triton kernels of the operations in `hyperconv.ops`; this version has none, and GPUs run csrc/cuda or PyTorch.

`OPERATIONS` names the operations that have a kernel here.
"""

OPERATIONS: tuple[str, ...] = ()

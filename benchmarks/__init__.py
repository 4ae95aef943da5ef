"""Measurements: the operator beside its peers, a training step beside the published one, the machine."""

from hyperconv.heap import keep_freed_memory

FREED_MEMORY_KEPT = keep_freed_memory()
"""For all rivals alike, as `hyperconv train` has it: how fast the system clears pages is not what is compared."""

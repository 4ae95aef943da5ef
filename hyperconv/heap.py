"""What this process does with memory that tensors on a CPU have given back."""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
NEVER = -1
OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Keep the memory of freed tensors for the next ones, instead of having it cleared by the system every time.

    A training step allocates the same gigabytes again and again. By default glibc gives large blocks back at once, and
    the system clears each page anew: up to a quarter of a step on a CPU. Kept, memory stays at its peak until the
    process ends, and the peak of one large picture after another is higher: for training, where no step needs more than
    the one before.

    Returns whether it is so now: False without glibc, and where an environment variable already sets malloc up.
    """
    if any(name in os.environ for name in OF_THE_USER):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have none; Windows has no CDLL(None)
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER)) and bool(mallopt(M_MMAP_MAX, 0))

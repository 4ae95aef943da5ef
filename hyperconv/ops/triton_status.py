"""Where Triton's kernels run, and for where they do not, why."""

import torch

from hyperconv.ops.native import release


def triton_status(device_type: str) -> str | None:
    """Why Triton's kernels do not run on these devices; None when they do, on a CPU in Triton's interpreter."""
    if reason := missing():
        return reason
    if device_type == "cpu":
        from hyperconv.kernels.launch import INTERPRETED

        slowly = "TRITON_INTERPRET=1 runs them on the CPU, slowly, for tests"
        return None if INTERPRETED else f"Triton's kernels run on GPUs; {slowly}"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no CUDA GPU"
    capability = max(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))
    if capability < (8, 0):
        return "the kernels need a GPU of compute capability 8.0 or later, and here is {}.{}".format(*capability)
    return None


def missing() -> str | None:
    """Why there is no Triton for the kernels: absent, broken, or too old."""
    try:
        import triton
    except ModuleNotFoundError as error:
        if error.name == "triton":
            return "Triton is not installed; install triton 3.6 or later"
        return f"Triton does not load: {error}"
    except ImportError as error:
        return f"Triton does not load: {error}".partition("\n")[0]
    if release(triton.__version__) < (3, 6):
        return f"this is Triton {triton.__version__}, and the kernels need 3.6 or later"
    return None

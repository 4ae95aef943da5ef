"""A CUDA graph of a call."""

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def captured(function: Callable[[], Result]) -> tuple[torch.cuda.CUDAGraph, Result]:
    """A graph of what `function` launches on the current device, and its result, which every replay writes anew.

    The call is made once before, on another stream, so that nothing is left to compile or to initialise. RuntimeError
    where it does what cannot be captured.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return graph, result

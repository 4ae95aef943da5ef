"""One flat (B, P) tensor holds all convolution weights of B networks; a layout names its parts.

A hypernetwork writes the flat tensor with one matrix product, an optimizer or a checkpoint sees one tensor,
and the layers read strided views of it: nothing copies a weight on its way to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod, sqrt

import torch
from torch import Tensor


class WeightLayout:
    """Names, shapes and offsets of the tensors of one weight set of P = `size` numbers.

    `shapes` maps each name to the shape of that tensor for one sample, e.g. ``{"head.weight": (64, 3, 3, 3),
    "head.bias": (64,)}``; the order of the mapping is the order in the flat tensor. Raises ValueError for an
    empty mapping or a shape with a size under one.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]]):
        self.shapes = {name: tuple(int(size) for size in shape) for name, shape in shapes.items()}
        if not self.shapes:
            raise ValueError("shapes is empty: a weight layout needs at least one tensor")
        self.sizes: dict[str, int] = {}
        self.offsets: dict[str, int] = {}
        self.size = 0
        for name, shape in self.shapes.items():
            if any(size < 1 for size in shape):
                raise ValueError(f"shapes[{name!r}] = {shape}: every size must be at least 1")
            self.offsets[name] = self.size
            self.sizes[name] = prod(shape)
            self.size += self.sizes[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.shapes)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """(B, P) -> {name: (B, *shape)}: views of `flat`, cut by one `torch.split`.

        One split, so that the gradients of all the views meet in one concatenation instead of one padded
        (B, P) tensor per view.
        """
        self._check(flat)
        pieces = torch.split(flat, list(self.sizes.values()), dim=1)
        return {name: piece.view(piece.shape[0], *shape) for (name, shape), piece in zip(self.shapes.items(), pieces)}

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """{name: (B, *shape)} -> (B, P), the inverse of `split` (a copy). Names must match; order is free."""
        if set(tensors) != set(self.shapes):
            missing = sorted(set(self.shapes) - set(tensors))
            unknown = sorted(set(tensors) - set(self.shapes))
            raise ValueError(f"tensors do not match the layout: missing {missing}, unknown {unknown}")
        for name, shape in self.shapes.items():
            actual = tuple(tensors[name].shape)
            if actual[1:] != shape:
                raise ValueError(f"tensors[{name!r}] has shape {actual}, expected (B, *{shape})")
        return torch.cat([tensors[name].reshape(-1, size) for name, size in self.sizes.items()], dim=1)

    def fill(self, values: Mapping[str, float]) -> Tensor:
        """One number per tensor -> (P,), repeated over the elements of the tensor; 1 for tensors left out."""
        unknown = sorted(set(values) - set(self.shapes))
        if unknown:
            raise ValueError(f"no tensor of the layout is called {', '.join(unknown)}")
        numbers = {name: float(values.get(name, 1.0)) for name in self.shapes}
        return torch.cat([torch.full((self.sizes[name],), number) for name, number in numbers.items()])

    def he_std(self) -> dict[str, float]:
        """Standard deviation of He et al. (2015, equation 10) per tensor: sqrt(2 / fan_in), fan_in the
        product of all sizes but the first; 0 for tensors of fewer than two dimensions (biases)."""
        return {name: sqrt(2 / prod(shape[1:])) if len(shape) > 1 else 0.0 for name, shape in self.shapes.items()}

    def _check(self, flat: Tensor) -> None:
        if flat.dim() != 2 or flat.shape[1] != self.size:
            raise ValueError(f"flat has shape {tuple(flat.shape)}, the layout needs (B, {self.size})")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WeightLayout) and list(self.shapes.items()) == list(other.shapes.items())

    def __hash__(self) -> int:
        return hash(tuple(self.shapes.items()))

    def __repr__(self) -> str:
        return f"WeightLayout({len(self.shapes)} tensors, size={self.size})"


class WeightSet(Mapping):
    """The weights of `batch` networks of one layout: `flat` (B, P), read by name as views (B, *shape).

    The views are cut at the first access and kept, so however many layers read them, the gradient reaches
    `flat` through one concatenation. Iterating gives names, as for any mapping; `batch` is B. Views cut under
    `torch.no_grad` are cut again once gradients are wanted: one set may serve a frozen and a trained pass.
    """

    def __init__(self, layout: WeightLayout, flat: Tensor):
        layout._check(flat)
        self.layout = layout
        self.flat = flat
        self._views: dict[str, Tensor] | None = None
        self._tracked = False

    @property
    def batch(self) -> int:
        return self.flat.shape[0]

    def __getitem__(self, name: str) -> Tensor:
        if self._views is None or (torch.is_grad_enabled() and not self._tracked):
            self._views = self.layout.split(self.flat)
            self._tracked = torch.is_grad_enabled()
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.shapes)

    def __len__(self) -> int:
        return len(self.layout.shapes)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def detach(self) -> WeightSet:
        """The same numbers outside the graph (shared memory)."""
        return WeightSet(self.layout, self.flat.detach())

    def select(self, index: int | slice | Sequence[int] | Tensor) -> WeightSet:
        """The sets at `index`: an int gives batch one, a slice a view, a list or long tensor a copy."""
        if isinstance(index, int):
            if not -self.batch <= index < self.batch:
                raise IndexError(f"index {index} is out of range for {self.batch} weight sets")
            index = slice(index, index + 1 or None)
        return WeightSet(self.layout, self.flat[index])

    def to(self, *args, **kwargs) -> WeightSet:
        """`Tensor.to` on the flat tensor: a device, a dtype, or both."""
        return WeightSet(self.layout, self.flat.to(*args, **kwargs))

    @staticmethod
    def lerp(a: WeightSet, b: WeightSet, t: float | Tensor) -> WeightSet:
        """a + t (b - a), exact at t = 0 and t = 1.

        `t` is a number or a tensor (T,), one per resulting set; `a` and `b` have T sets, or one for all.
        """
        if a.layout != b.layout:
            raise ValueError(f"a and b differ in layout: {a.layout} and {b.layout}")
        if isinstance(t, Tensor):
            t = t.to(a.flat).reshape(-1, 1)
        return WeightSet(a.layout, torch.lerp(a.flat, b.flat, t))

    def __repr__(self) -> str:
        return f"WeightSet(batch={self.batch}, {self.layout})"

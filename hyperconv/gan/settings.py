"""`Settings`: what the configurations of all systems have in common, one flat record that is saved with the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from hyperconv.errors import InputError

KINDS = {
    "str": str,
    "str | None": (str, type(None)),
    "int": int,
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "tuple[int, ...]": int,
    "tuple[float, float]": (int, float),
}


class Settings:
    """Base of frozen dataclasses whose fields are of the types KINDS names; InputError for a value of another type.

    Where several numbers are asked for, one alone or any sequence of them will do.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kinds = getattr(self, field.name), KINDS[field.type]
            parts = (value,)
            if field.type.startswith("tuple"):
                parts = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else parts
                object.__setattr__(self, field.name, parts)
            if not all(isinstance(part, kinds) and not isinstance(part, bool) for part in parts):
                raise InputError(f"{field.name} is {value!r}: it must be {field.type}")

    def check_numbers(self, *names: str, least: float, below: float = math.inf) -> None:
        """InputError where one of these settings is not in [least, below); None is no number and passes."""
        for name in names:
            value = getattr(self, name)
            if value is not None and not least <= value < below:
                bounds = f"of at least {least}" + (f" and below {below}" if below < math.inf else "")
                raise InputError(f"{name} is {value}: it must be a finite number {bounds}")

    def check_choices(self, choices: Mapping[str, Sequence[str]]) -> None:
        """InputError where a setting is none of the words it can be."""
        for name, words in choices.items():
            if getattr(self, name) not in words:
                raise InputError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(words)}")

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict):
        """What `to_json` gave; InputError for an entry that is unknown or cannot be."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(
                f"the configuration has unknown entries: {', '.join(unknown)}; was it written by another version?"
            )
        return cls(**values)


class DomainSettings(Settings):
    """Of systems that learn from domains: one scale, of square images."""

    system: str
    image_size: int  # pixels, a power of 2 from 8 on
    iterations: tuple[int, ...]  # one number

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.iterations) != 1 or self.iterations[0] < 1:
            raise InputError(f"iterations is {self.iterations}: {self.system} has one scale, give one number from 1 on")
        if self.image_size < 8 or self.image_size & (self.image_size - 1):
            raise InputError(f"image_size is {self.image_size}: it must be 8, 16, 32, 64, ...")

    @property
    def levels(self) -> int:
        """Halvings between an image and the 4x4 pixels at its heart."""
        return self.image_size.bit_length() - 3

    def iterations_at(self, scale: int) -> int:
        return self.iterations[0]

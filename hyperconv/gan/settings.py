"""`Settings`: what the configurations of all systems have in common, one flat record that is saved with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from hyperconv.errors import InputError

KINDS = {"str": str, "str | None": (str, type(None)), "int": int, "int | None": (int, type(None)),
         "float": (int, float), "float | None": (int, float, type(None)),
         "tuple[int, ...]": int, "tuple[float, float]": (int, float)}


class Settings:
    """Base of frozen dataclasses whose fields are of the types KINDS names; InputError for a value of another type."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kinds = getattr(self, field.name), KINDS[field.type]
            parts = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(part, kinds) and not isinstance(part, bool) for part in parts):
                raise InputError(f"{field.name} is {value!r}: it must be {field.type}")

    def check_choices(self, choices: Mapping[str, Sequence[str]]) -> None:
        """InputError where a setting is none of the words it can be."""
        for name, words in choices.items():
            if getattr(self, name) not in words:
                raise InputError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(words)}")

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict):
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f"the configuration has unknown entries: {', '.join(unknown)}; "
                             "was it written by another version?")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})

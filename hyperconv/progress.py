"""How long work tells the one who waits for it how far it is."""

from collections.abc import Callable

OnEach = Callable[[int, int], None] | None
"""Called with (done, all) after every step, photo or frame."""

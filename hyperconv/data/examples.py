"""Real photographs to try things on: files inside scikit-image and scikit-learn, no network needed."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from hyperconv.data.images import Photo, read_photo
from hyperconv.errors import InputError

_FILES = {
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "motorcycle_left": ("skimage", "data/motorcycle_left.png"),
    "ihc": ("skimage", "data/ihc.png"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}
HELD_OUT = ("flower", "rocket")  # for trying a trained model on photos it never saw


def example_names() -> list[str]:
    """Names of the example photos; those of HELD_OUT come last."""
    return list(_FILES)


def load_examples(names: Iterable[str] | None = None) -> list[Photo]:
    """The example photos of these names, or all: RGB at full resolution (long side 451 to 1411 pixels).

    InputError for an unknown name, or where scikit-image or scikit-learn is not installed.
    """
    return [read_photo(_path(name), channels=3) for name in (_FILES if names is None else names)]


def _path(name: str) -> Path:
    if name not in _FILES:
        raise InputError(f"no example photo {name!r}: choose from {', '.join(_FILES)}")
    package, file = _FILES[name]
    spec = find_spec(package)
    path = None if spec is None else Path(spec.origin).parent / file
    if path is None or not path.is_file():
        raise InputError("the example photos are not installed: pip install 'hyperconv[examples]'")
    return path

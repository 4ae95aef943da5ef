"""The activations that a convolution is fused with, by their names and by the codes that the operators take."""

from hyperconv.errors import InputError

NONE, RELU, LEAKY_RELU, TANH = range(4)
ACTIVATIONS = {None: NONE, "relu": RELU, "leaky_relu": LEAKY_RELU, "tanh": TANH}
NAMES = tuple(ACTIVATIONS)


def unknown_activation(activation: object) -> InputError:
    """The error to raise for one that is not in `NAMES`."""
    return InputError(f"activation is {activation!r}; choose None, 'relu', 'leaky_relu' or 'tanh'")

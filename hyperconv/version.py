"""The version of the package; the native libraries must have been built for the same one."""

__version__ = "0.1.0"

"""setup.py as a module, for the tests that use what it knows of compilers and flags."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("hyperconv_setup", ROOT / "setup.py")
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)


def nvcc_or_skip() -> list[str]:
    """The command of nvcc; without one, the module that asks for it is skipped with the reason."""
    try:
        return script.find_nvcc()
    except script.NotBuilt as reason:
        pytest.skip(str(reason), allow_module_level=True)

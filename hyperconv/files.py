"""Files that are either complete or absent, whatever happens while they are written, and where caches go."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from hyperconv.errors import InputError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed over `path`.

    A kill at any moment leaves the old file or the new one, never a part of one. The file gets the permissions of any
    new file (safetensors writes for its owner only).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fchmod(descriptor, 0o666 & ~_umask())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(paths: Iterable[str | Path], force: bool = False) -> None:
    """InputError where files cannot be written, or are named twice, or are there already without `force`.

    To be asked before the work whose results they are to hold; nothing is made yet.
    """
    paths = [Path(path) for path in paths]
    twice = [path for path, times in Counter(paths).items() if times > 1]
    if twice:
        raise InputError(f"{twice[0]} would be written twice; name each photo once, and rename one of two alike")
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path} is a folder, and a file is to be written: name one in it, or another")
        _check_folder(path.parent)
    existing = [] if force else [path for path in paths if path.exists()]
    if existing:
        what = "is there already" if len(existing) == 1 else f"and {len(existing) - 1} more files are there already"
        raise InputError(f"{existing[0]} {what}; write elsewhere with --out, or over it with --force")


def _check_folder(folder: Path) -> None:
    """InputError where it is none in which files can be made, or cannot become one."""
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise InputError(f"{there} is no folder; write elsewhere with --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there}: no permission to write here; write elsewhere with --out, or mend it")


def cache_folder() -> Path:
    """Where measurements and checks of this machine are kept; it may not exist yet.

    $HYPERCONV_CACHE, else hyperconv in $XDG_CACHE_HOME or in ~/.cache.
    """
    own, caches = os.environ.get("HYPERCONV_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(caches) if caches else Path.home() / ".cache") / "hyperconv"


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

"""Replies that other tools collected: each layout becomes rows of one kind, read by `recorded`.

Adding a layout is one file here with a function named like it, and a line in `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from safemlrm.errors import DataError
from safemlrm.importers.inspect_log import inspect_log
from safemlrm.importers.omnisafebench import omnisafebench
from safemlrm.importers.opensafemlrm import opensafemlrm
from safemlrm.importers.row import Recorded, Wanted
from safemlrm.importers.rows import FILES, rows

__all__ = ["LAYOUTS", "Recorded", "Wanted", "detect", "read"]

#: Layout -> the function that reads a path in it.
LAYOUTS: dict[str, Callable[[Path, Wanted], Iterator[Recorded]]] = {
    "rows": rows,
    "opensafemlrm": opensafemlrm,
    "omnisafebench": omnisafebench,
    "inspect_log": inspect_log,
}


def read(path: Path, layout: str, wanted: Wanted) -> Iterator[Recorded]:
    """Yield the replies of a file or folder. Raises `DataError` naming the place of what cannot be read."""
    found = False
    try:
        for row in LAYOUTS[detect(path) if layout == "auto" else layout](path, wanted):
            found = True
            yield row
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not found:
        raise DataError(f"{path} holds no replies")


def detect(path: Path) -> str:
    """Tell a path's layout from its name and its first bytes. Raises `DataError` where it is none of ours."""
    suffix = path.suffix.lower()
    if suffix == ".eval":
        return "inspect_log"
    if path.is_dir() or suffix == ".json":
        return "opensafemlrm"
    if suffix == ".jsonl":
        with path.open("rb") as file:
            head = file.read(65536)
        return "omnisafebench" if b'"test_case_id"' in head and b'"model_response"' in head else "rows"
    if suffix in FILES:
        return "rows"
    known = ", ".join([*FILES, ".json", ".eval"])
    raise DataError(f"{path}: recorded replies are read from {known}, or from a folder of OpenSafeMLRM's JSON files")

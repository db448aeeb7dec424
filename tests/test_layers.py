"""Who may import whom: imports point one way, and importing the package does nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import safemlrm

ROOT = Path(safemlrm.__file__).parent

#: Each room may import itself and what stands to its left; `analysis` and `report` stand on a branch of their own.
LINE = (
    ("errors", "pictures"),
    ("records",),
    ("modelfacts", "models", "thinking", "store"),
    ("plugin", "weights", "keys", "listing", "generating"),
    ("wire",),
    ("probing",),
    ("manners",),
    ("registry", "benchfiles", "capability", "crosswalk", "fences", "prompting", "sampling", "specimens", "study"),
    ("benchcells", "importers"),
    ("datasets", "attacks", "defenses", "judges", "targets"),
    ("contents", "fetch", "specimen_server", "training_sets", "trials"),
    ("pairs",),
    ("resolve",),
    ("engine",),
    ("cli",),
    ("__main__",),
)
BRANCH = (("errors", "pictures"), ("records",), ("store",), ("analysis",), ("report",), ("cli",))

FILES = sorted(path for path in ROOT.rglob("*.py"))


def room(module: str) -> str:
    """Return the top-level room of a module: `safemlrm.store.frames` lives in `store`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(path: Path) -> set[str]:
    """Return the rooms that a file imports from, wherever in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    rooms = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("safemlrm"):
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "safemlrm" else [node.module]
            )
            rooms |= {room(str(name)) for name in names}
        elif isinstance(node, ast.Import):
            rooms |= {room(alias.name) for alias in node.names if alias.name.startswith("safemlrm")}
    return rooms - {"__version__", "__init__"}


def allowed(own: str) -> set[str]:
    """Return the rooms that a room may import from."""
    found: set[str] = set()
    for order in (LINE, BRANCH):
        for place, rooms in enumerate(order):
            if own in rooms:
                found |= {name for earlier in order[: place + 1] for name in earlier}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_rooms_to_its_left(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert imported(path) <= allowed(own), f"{own} may not import {sorted(imported(path) - allowed(own))}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_readable_in_one_go(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320


def test_every_file_is_in_a_room_of_the_table() -> None:
    known = {name for order in (LINE, BRANCH) for rooms in order for name in rooms} | {"__init__"}
    assert {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} <= known


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import safemlrm", ("sqlalchemy", "polars", "numpy", "aiohttp", "rich", "typer", "altair", "PIL")),
        ("import safemlrm.cli", ("sqlalchemy", "polars", "numpy", "aiohttp", "altair", "PIL", "scipy", "jinja2")),
    ],
)
def test_importing_brings_in_nothing_heavy(statement: str, heavy: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint(sorted(set(sys.modules) & {set(heavy)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

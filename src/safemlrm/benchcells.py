"""One view of the rows of csv, JSON, JSON-lines and parquet, for benchmarks that are published as several of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safemlrm.benchfiles import (
    beneath,
    contents,
    elsewhere,
    filled,
    known,
    parquet_parts,
    read_items,
    read_lines,
    read_parquet,
    read_table,
)
from safemlrm.errors import DataError
from safemlrm.records import Image

#: The one key of `published` where the authors give a total, but not the samples per scenario.
ALL = "all"


class Entry(NamedTuple):
    """One row of a table: where it stands (file and row, for messages), and its cells by column."""

    where: str
    cells: Mapping[str, Any]

    def text(self, name: str) -> str:
        """Return a text as it was published, line ends included. Raises `DataError` when it is blank or none."""
        return filled(self.where, name, self.cells.get(name))

    def maybe(self, name: str) -> str | None:
        """Return a text, or None where the cell is blank or absent."""
        value = self.cells.get(name)
        return value if isinstance(value, str) and value.strip() else None

    def key(self, name: str) -> str:
        """Return an id, which some files hold as a number and some as text."""
        value = self.cells.get(name)
        return str(value) if isinstance(value, int) else self.text(name).strip()

    def one_of(self, name: str, options: Collection[str]) -> str:
        """Return a text that must be one of the published ones, blanks around it aside."""
        return known(self.where, name, self.text(name).strip(), options)


class ContentIds:
    """Ids made of content, for sets that publish none: a row's position is no id.

    A repeated content gets `.2`, `.3`, ... so that no row is lost.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of(self, prefix: str, *parts: str | bytes) -> str:
        """Return `prefix-` and the parts' hash."""
        return self.keep(f"{prefix}-{content_hash(*parts)}")

    def keep(self, name: str) -> str:
        """Return a name that stands for a row's content, with `.2`, `.3`, ... where it comes again."""
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name}.{self._seen[name]}"


def content_hash(*parts: str | bytes) -> str:
    """Return twelve hex digits that stand for texts and bytes, kept apart by their lengths."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()[:12]


def tables(folder: Path, files: Sequence[str] = (), *, split: str | None = None, config: str = "default") -> list[Path]:
    """Return the files of one table: the parts of a parquet split, else the first pattern of `files` that matches.

    A file in none of these places counts where it is the only one of its name beneath the folder. Raises
    `DataError` that lists what was looked for and what is there.
    """
    if split is not None and (parts := parquet_parts(folder, split, config)):
        return parts
    for pattern in files:
        if found := sorted(path for path in folder.glob(pattern) if path.is_file()):
            return found
    if (stray := elsewhere(folder, (name for name in files if "*" not in name))) is not None:
        return [stray]
    wanted = [*files] + ([f"parquet files of {config}/{split}"] if split is not None else [])
    raise DataError(f"{folder}: none of {', '.join(wanted)} is there ({contents(folder)})")


def entries(paths: Path | Sequence[Path], columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Entry]:
    """Yield the rows of one table's files; every row has all `columns`, and those of `optional` that are there.

    Parquet is streamed: leave the picture column out where only texts are wanted. Raises `DataError` with
    file and row.
    """
    for path in [paths] if isinstance(paths, Path) else paths:
        for where, cells in _rows(path, tuple(columns), tuple(optional)):
            if absent := [name for name in columns if name not in cells]:
                raise DataError(f"{where}: no {absent[0]!r}; there are {', '.join(cells)}")
            yield Entry(where, cells)


def _rows(path: Path, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix == ".parquet":
        yield from read_parquet(path, columns, optional=optional)
    elif path.suffix == ".csv":
        for row in read_table(path, columns, optional=optional, blank=columns):
            yield f"{path}, row {row.number}", row.cells
    elif path.suffix == ".jsonl":
        for number, cells in read_lines(path, dict[str, Any]):
            yield f"{path}, line {number}", cells
    else:
        for number, cells in enumerate(read_items(path, dict[str, Any]), start=1):
            yield f"{path}, item {number}", cells


def distinct(found: Iterable[Entry], name: str) -> Iterator[Entry]:
    """Yield the rows as they come. Raises `DataError` at the first id that occurs twice."""
    seen: set[str] = set()
    for entry in found:
        if (key := entry.key(name)) in seen:
            raise DataError(f"{entry.where}: {name!r} {key!r} occurs twice")
        seen.add(key)
        yield entry


def count(paths: Sequence[Path], columns: Sequence[str]) -> int:
    """Return how many rows a table has, reading only these columns (name one of text, not the pictures)."""
    return sum(1 for _ in entries(paths, columns))


def root_of(table: Path) -> Path:
    """Return the folder that a table's paths start from: its own, or the one above `data/` or `dataset/`."""
    return table.parent.parent if table.parent.name in ("data", "dataset") else table.parent


def picture(entry: Entry, name: str, folder: Path, homes: Sequence[str] = (".",)) -> Image:
    """Return the picture of a cell: `{"bytes": ..., "path": ...}`, raw bytes, or a path under one of the homes.

    A path is taken in the first home that has it, else in the first; a path that begins with a home's
    name is not looked for in that home. Raises `DataError` where the cell holds none, or a path that
    leads out of the folder.
    """
    return _picture(f"{entry.where}: {name!r}", entry.cells.get(name), folder, homes)


def pictures(entry: Entry, name: str, folder: Path) -> tuple[Image, ...]:
    """Return the pictures of a cell that holds a list of them, at least one."""
    cells = entry.cells.get(name)
    if not isinstance(cells, list) or not cells:
        raise DataError(f"{entry.where}: {name!r} holds no list of pictures")
    return tuple(_picture(f"{entry.where}: {name}[{i}]", cell, folder, (".",)) for i, cell in enumerate(cells))


def _picture(where: str, cell: Any, folder: Path, homes: Sequence[str]) -> Image:
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return Image(data=cell)
    if not isinstance(cell, str) or not cell.strip():
        raise DataError(f"{where} holds no picture")
    relative = cell.strip().removeprefix("./")
    fitting = [home for home in homes if not relative.startswith(f"{home}/")] or ["."]
    places = [beneath(where, folder / home, relative) for home in fitting]
    return Image(path=str(next((place for place in places if place.exists()), places[0])))

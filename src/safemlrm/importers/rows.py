"""Plain tables of replies: JSONL, CSV or Parquet, in our columns or by a mapping from them to the file's."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from safemlrm.errors import DataError, UnknownName
from safemlrm.importers.row import Recorded, Wanted, json_lines
from safemlrm.records import Visibility

FILES = (".jsonl", ".csv", ".parquet")

COLUMNS = ("sample", "reply", "dataset", "condition", "seed", "reasoning", "stop", "failure", "visibility", "model")


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    sample: Annotated[str, msgspec.Meta(min_length=1)] | int
    reply: str
    dataset: str = ""
    condition: str = ""
    seed: int | str = 0
    reasoning: str | None = None
    stop: str = "stop"
    failure: str | None = None
    visibility: Visibility | None = None
    model: str | None = None


def rows(path: Path, wanted: Wanted) -> Iterator[Recorded]:
    """Yield the rows of a table. Without a mapping, a column that nothing reads is an error.

    Raises `DataError` with the row for what cannot be read, `UnknownName` for a column that is not there. Rows are
    counted as they stand in the file, so that the header of a CSV is row 1.
    """
    for name in wanted.columns:
        if name not in COLUMNS:
            raise UnknownName("column", name, COLUMNS, where="the mapping of columns")
    for number, raw in _raw(path):
        where = f"{path}, row {number}"
        row = _mapped(raw, wanted.columns, where) if wanted.columns else _ours(raw, where)
        try:
            read = msgspec.convert(row, _Row)
            if read.failure and read.reply:
                raise ValueError("it holds a reply, and why there is none")
            fields = msgspec.structs.asdict(read) | {"sample": str(read.sample), "seed": int(read.seed)}
            yield msgspec.convert(fields | {"where": where}, Recorded)
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error


def _ours(raw: dict[str, Any], where: str) -> dict[str, Any]:
    for name in raw:
        if name not in COLUMNS:
            raise UnknownName("column", name, COLUMNS, where=where)
    said = {name: value for name, value in raw.items() if value is not None}
    return {"reply": ""} | said if "failure" in said else said


def _mapped(raw: dict[str, Any], columns: dict[str, str], where: str) -> dict[str, Any]:
    for name in columns.values():
        if name not in raw:
            raise UnknownName("column", name, raw, where=where)
    return {ours: raw[theirs] for ours, theirs in columns.items() if raw[theirs] is not None}


def _raw(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        yield from _csv(path)
    elif suffix == ".parquet":
        yield from _parquet(path)
    else:
        yield from json_lines(path, dict[str, Any])


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # a cell may hold a whole reply, far beyond the reader's own limit of 128 KiB
    csv.field_size_limit(2**31 - 1)
    header, number = list[str](), 0
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            for number, cells in enumerate(csv.reader(file, strict=True), start=1):
                if number == 1:
                    header = _header(cells, path)
                elif cells and len(cells) != len(header):
                    raise DataError(f"{path}, row {number}: {len(cells)} cells under {len(header)} columns")
                elif cells:
                    row = zip(header, cells, strict=True)
                    yield number, {name: cell if cell != "" or name == "reply" else None for name, cell in row}
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}, row {number + 1} or near it: {error}") from error


def _header(cells: list[str], path: Path) -> list[str]:
    twice = sorted({name for name in cells if cells.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the column {twice[0]!r} is there twice")
    return cells


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import polars as pl

    try:
        yield from enumerate(pl.read_parquet(path).iter_rows(named=True), start=1)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: {error}") from error

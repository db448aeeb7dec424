"""Strict reading of text files: csv and tsv row by row, JSON, JSON lines; every mistake names file and row."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec

from safemlrm.errors import DataError

Record = TypeVar("Record")

#: Cells may hold a picture in base64; Python's csv stops at 128 KiB unless told otherwise.
_LARGEST_CELL = 64 * 2**20


#: The byte order mark that some editors put before UTF-8.
_MARK = b"\xef\xbb\xbf"
#: How a Git LFS pointer begins: what a clone without LFS has in place of a large file.
_POINTER = b"version https://git-lfs"


class Row(NamedTuple):
    """One row of a csv file; `number` counts the header as row 1, as editors and spreadsheets do."""

    number: int
    cells: dict[str, str]


def read_bytes(path: Path) -> bytes:
    """Return a benchmark file's bytes. Raises `DataError` when it is missing or unreadable."""
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def open_file(path: Path) -> BinaryIO:
    """Open a benchmark file. Raises `OSError`, and `DataError` where Git LFS left a pointer in its place."""
    file = path.open("rb")
    if file.read(len(_POINTER)) == _POINTER:
        file.close()
        raise DataError(f"{path}: a Git LFS pointer, not the file itself (run `git lfs pull` in {path.parent})")
    file.seek(0)
    return file


def read_csv(path: Path, header: tuple[str, ...]) -> Iterator[Row]:
    """Yield the rows of a UTF-8 csv file whose header must be exactly `header` and whose cells are never blank.

    Raises `DataError` with file and row.
    """
    for number, cells in _rows(path, ","):
        if number == 1:
            _check_header(path, tuple(cells), header)
        elif cells:
            yield _full(path, _row(path, number, cells, header), header)


def read_table(
    path: Path,
    columns: tuple[str, ...],
    *,
    optional: tuple[str, ...] = (),
    blank: Collection[str] = (),
    separator: str = ",",
) -> Iterator[Row]:
    """Yield the rows of a UTF-8 csv or tsv file that has at least `columns`, in any order.

    Only `columns`, and those of `optional` that are there, are handed on; all but `optional` and `blank`
    must be filled. Rows that repeat the header are skipped. The file is streamed, so a cell may hold a
    picture in base64. Raises `DataError` with file and row.
    """
    header: tuple[str, ...] = ()
    for number, cells in _rows(path, separator):
        if number == 1:
            header = tuple(cells)
            _has_columns(path, header, columns)
            kept = {name for name in header if name in columns or name in optional}
        elif cells and tuple(cells) != header:
            row = _row(path, number, cells, header)
            _full(path, row, [name for name in columns if name not in blank])
            yield Row(number, {name: cell for name, cell in row.cells.items() if name in kept})


def read_header(path: Path, separator: str = ",") -> tuple[str, ...]:
    """Return the column names of a csv or tsv file. Raises `DataError`."""
    for _, cells in _rows(path, separator):
        return tuple(cells)
    raise DataError(f"{path}: the file is empty")


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_CELL))
    number = 0
    try:
        # newline="" keeps line ends inside quoted cells as they are
        with TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as file:
            for number, cells in enumerate(csv.reader(file, delimiter=separator, strict=True), start=1):
                yield number, cells
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 after row {number}") from error
    except csv.Error as error:
        raise DataError(f"{path}, row {number + 1}: {error}") from error
    if number == 0:
        raise DataError(f"{path}: the file is empty")


def _check_header(path: Path, found: tuple[str, ...], header: tuple[str, ...]) -> None:
    if found != header:
        raise DataError(f"{path}, row 1: the header should be {','.join(header)}, not {','.join(found)[:200]!r}")


def _has_columns(path: Path, header: tuple[str, ...], columns: tuple[str, ...]) -> None:
    if len(set(header)) != len(header):
        raise DataError(f"{path}, row 1: a column name occurs twice in {','.join(header)[:200]!r}")
    if missing := [name for name in columns if name not in header]:
        hint = ". Its cells are separated by ';', which the published file's are not" if ";" in header[0] else ""
        raise DataError(f"{path}, row 1: no column {missing[0]!r}; there are {','.join(header)[:200]!r}{hint}")


def _row(path: Path, number: int, cells: list[str], header: tuple[str, ...]) -> Row:
    if len(cells) != len(header):
        raise DataError(f"{path}, row {number}: {len(header)} cells expected, got {len(cells)}")
    return Row(number, dict(zip(header, cells, strict=True)))


def _full(path: Path, row: Row, names: Collection[str]) -> Row:
    for name in names:
        if not row.cells[name].strip():
            raise DataError(f"{path}, row {row.number}: {name!r} is blank")
    return row


def read_json(path: Path, kind: type[Record]) -> Record:
    """Return a JSON file decoded as `kind`. Raises `DataError` with the file and the place in it."""
    return decode_json(read_bytes(path).removeprefix(_MARK), kind, str(path))


def read_records(path: Path, kind: type[Record]) -> dict[str, Record]:
    """Return a JSON object of id -> record. Raises `DataError` with file and id."""
    raw = read_json(path, dict[str, msgspec.Raw])
    return {key: decode_json(value, kind, f"{path}, id {key!r}") for key, value in raw.items()}


def read_items(path: Path, kind: type[Record]) -> list[Record]:
    """Return a JSON list of records. Raises `DataError` with file and item, counted from 1."""
    raw = read_json(path, list[msgspec.Raw])
    return [decode_json(value, kind, f"{path}, item {number}") for number, value in enumerate(raw, start=1)]


def read_lines(path: Path, kind: type[Record]) -> Iterator[tuple[int, Record]]:
    """Yield (line number from 1, record) of a file of JSON lines; blank lines are skipped. Raises `DataError`."""
    try:
        with open_file(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, decode_json(line.removeprefix(_MARK), kind, f"{path}, line {number}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def decode_json(data: bytes | msgspec.Raw, kind: type[Record], where: str) -> Record:
    """Return JSON decoded as `kind`. Raises `DataError` that begins with `where`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: {error}") from error

"""Strict reading of parquet files, a few rows at a time, and of pictures that a cell or an archive holds."""

from __future__ import annotations

import base64
import binascii
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safemlrm.benchfiles.tables import open_file
from safemlrm.errors import DataError
from safemlrm.records import Image

#: Rows held in memory at a time: pictures of a megabyte make this tens of megabytes, whatever the file's size.
_SLICE = 32
#: No benchmark's picture comes near it; an archive that claims more is a bomb or broken.
_LARGEST_PICTURE = 64 * 2**20


class Cells(NamedTuple):
    """One row of a parquet file: `where` names file and row (from 1), for messages."""

    where: str
    cells: dict[str, Any]


def read_parquet(
    files: Path | Sequence[Path], columns: tuple[str, ...], *, optional: tuple[str, ...] = ()
) -> Iterator[Cells]:
    """Yield the rows of one or several parquet files with `columns`, and those of `optional` that are there.

    Streams: ask for the picture column only when the pictures are wanted. Raises `DataError` with the file
    when it is no parquet or lacks a column.
    """
    import polars as pl

    for path in [files] if isinstance(files, Path) else files:
        if not path.is_file():
            raise DataError(f"{path}: cannot be read (no such file)")
        try:
            open_file(path).close()
            frame = pl.scan_parquet(path, glob=False)
            there = frame.collect_schema().names()
            if missing := [name for name in columns if name not in there]:
                raise DataError(f"{path}: no column {missing[0]!r}; there are {', '.join(there)[:200]}")
            picked = frame.select([*columns, *(name for name in optional if name in there)])
            number = 0
            while (rows := picked.slice(number, _SLICE).collect()).height:
                for cells in rows.iter_rows(named=True):
                    number += 1
                    yield Cells(f"{path}, row {number}", cells)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path}: cannot be read as parquet with {', '.join(columns)}: {error}") from error


def picture(where: str, cell: Any, name: str = "image") -> Image:
    """Return the picture of a cell: raw bytes, or `{"bytes": ..., "path": ...}`. Raises `DataError`."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes) or not data:
        raise DataError(f"{where}: {name!r} holds no bytes")
    return Image(data=data)


def base64_picture(where: str, cell: str, name: str = "image") -> Image:
    """Return the picture that a text cell holds in base64. Raises `DataError`."""
    try:
        data = base64.b64decode("".join(cell.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: {name!r} is no base64 ({error})") from error
    return picture(where, data, name)


def zip_pictures(path: Path) -> dict[str, bytes]:
    """Return the PNG, JPEG and WEBP members of a small zip by their names, read in place.

    Raises `DataError` when it is no whole zip, or when a member is larger than any picture.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if m.filename.lower().endswith((".png", ".jpg", ".jpeg", ".webp"))]
            for member in members:
                if member.file_size > _LARGEST_PICTURE:
                    raise DataError(f"{path}: {member.filename} would unpack to {member.file_size} bytes")
            return {m.filename: archive.read(m) for m in members if not m.filename.startswith("__MACOSX/")}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read as a zip: {error}") from error

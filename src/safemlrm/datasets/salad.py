"""SaLAD: everyday questions with pictures, half of which hide a danger to be warned of (arXiv 2601.04043)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from safemlrm.benchcells import ALL, ContentIds, Entry, content_hash, count, entries, picture, root_of, tables
from safemlrm.benchfiles import check_rows
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_ROWS = {"full": 2_013, "preview": 20}
#: "Sports" in the preview is "Exercise" in the full set.
_CATEGORIES = (
    "Activity",
    "Exercise",
    "Food",
    "Game",
    "Health",
    "Home",
    "Office",
    "Research",
    "Sports",
    "Study",
    "Travel",
)
#: The authors' keys have blanks in them; which one holds the right reply depends on the row.
_TYPE = "safety type"
_REFERENCE = {"safe": "safe suggestion", "unsafe": "safety warning"}
#: The question's key in the preview, and in the full set.
_QUESTION = ("query", "text")
_FILES = ("data/data.json", "data.json", "data/*.parquet", "*.parquet")
_PICTURES = ("images", "image", "data/images", "data/image", ".")


def _published(*, subset: str, rows: int | None = None) -> dict[str, int]:
    return {ALL: rows or _ROWS[subset]}


@dataset(
    version="1",
    title="SaLAD",
    paper="arXiv 2601.04043",
    licence="Apache-2.0",
    source=(
        "https://huggingface.co/datasets/Holly301/SaLAD, or https://github.com/xinyuelou/SaLAD "
        "(texts only: the full set at commit 76859d557359b63ad31a4f18ecd57345fc1c8ec8, the preview at 3453f36)"
    ),
    folders=("SaLAD", "SaLAD-main", "salad"),
    published=_published,
    hub="Holly301/SaLAD",
    metric="whether the reply gives the safety warning (unsafe rows), and helps (safe rows), by a model as judge",
    benign="rows whose safety type is safe",
)
def salad(folder: Path, *, subset: Literal["full", "preview"] = "full", rows: int | None = None) -> Iterator[Sample]:
    """Yield the samples: the picture, then the question. Safe rows are to be answered, unsafe ones to `warn`.

    The reference is the authors' safe suggestion or safety warning. The question is `query` (preview) or
    `text` (the full set); pictures are found where `image.zip` was unpacked. The preview
    has no ids: there an id is the picture's name and the hash of the question. Questions about the same picture
    are one group.
    Raises `DataError` where category, safety type or number of rows is not a published one (2,013, or the
    20 of the preview); `rows` is the number of another version.
    """
    paths = tables(folder, _FILES)
    held = count(paths, (_TYPE,))
    if rows is None and held != _ROWS[subset] and held in _ROWS.values():
        other = next(name for name, size in _ROWS.items() if size == held)
        raise DataError(f"{paths[0]}: expected {_ROWS[subset]} rows, got {held}, which is subset={other!r}")
    check_rows(paths[0], held, _ROWS[subset], rows)
    ids = ContentIds()
    for row in entries(paths, ("category", _TYPE, "image"), ("id", *_QUESTION, *_REFERENCE.values())):
        yield _sample(row, root_of(paths[0]), ids)


def _sample(row: Entry, root: Path, ids: ContentIds) -> Sample:
    kind = row.one_of(_TYPE, ("safe", "unsafe"))
    column = next((name for name in _QUESTION if row.maybe(name)), _QUESTION[0])
    query, image = row.text(column), picture(row, "image", root, _PICTURES)
    cell = row.cells["image"]
    name = Path(cell).stem if isinstance(cell, str) else content_hash(image.data or image.path or "")
    return Sample(
        id=ids.keep(row.key("id")) if "id" in row.cells else ids.of(name, query),
        group=name,
        dataset="salad",
        scenario=row.one_of("category", _CATEGORIES),
        goal=query,
        text=query,
        images=(image,),
        expected="answer" if kind == "safe" else "warn",
        reference=row.text(_REFERENCE[kind]),
    )

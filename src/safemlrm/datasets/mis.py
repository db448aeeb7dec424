"""MIS, Multi-Image Safety: a request about two pictures that is harmless in each of them alone (arXiv 2501.18533)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from safemlrm.benchcells import ALL, ContentIds, Entry, content_hash, entries, picture, tables
from safemlrm.benchfiles import check_rows
from safemlrm.plugin import dataset
from safemlrm.records import Sample

#: Rows of each part, as users of the set report them.
_PARTS = {"easy": 1_675, "hard": 510, "real": 100}
_COLUMNS = ("question", "category", "image_path1", "image_path2")
_HOMES = ("", "mis_test/", "MIS_Test/", "data/")


def _published(*, subset: str, rows: int | None = None) -> dict[str, int]:
    return {ALL: rows or (sum(_PARTS.values()) if subset == "all" else _PARTS[subset])}


@dataset(
    version="1",
    title="MIS (Multi-Image Safety), test",
    paper="arXiv 2501.18533",
    licence="not stated",
    source="https://huggingface.co/datasets/Tuwhy/MIS_Test (code: https://github.com/DripNowhy/MIS)",
    folders=("MIS", "MIS_Test", "mis_test", "mis"),
    published=_published,
    hub="Tuwhy/MIS_Test",
    metric="attack success, hazard, reasoning success and refusal rate, by GPT-4o",
)
def mis(
    folder: Path, *, subset: Literal["all", "easy", "hard", "real"] = "all", rows: int | None = None
) -> Iterator[Sample]:
    """Yield the samples of `mis_easy.json`, `mis_hard.json` and `mis_real.json`: both pictures, then the question.

    The files have no ids: an id is the part, the folder of the pictures and the question's hash; questions
    about the same two pictures are one group. Raises `DataError` where a row lacks one of its two pictures'
    paths, or there are not 1,675, 510 and 100 rows, which is known from users of the set only; `rows` is the
    number of another version.
    """
    parts = tuple(_PARTS) if subset == "all" else (subset,)
    files = {part: tables(folder, [f"{home}mis_{part}.json" for home in _HOMES])[0] for part in parts}
    found = {part: list(entries(path, _COLUMNS)) for part, path in files.items()}
    check_rows(folder, sum(map(len, found.values())), sum(_PARTS[part] for part in parts), rows)
    ids = ContentIds()
    for part, table in found.items():
        for row in table:
            yield _sample(part, row, files[part].parent, ids)


def _sample(part: str, row: Entry, home: Path, ids: ContentIds) -> Sample:
    question = row.text("question")
    images = tuple(picture(row, name, home, (".", "mis_test")) for name in _COLUMNS[2:])
    places = [str(PurePosixPath(row.text(name).replace("\\", "/"))) for name in _COLUMNS[2:]]
    return Sample(
        id=ids.of(f"{part}_{PurePosixPath(places[0]).parent.name}", *places, question),
        group=f"{part}-{content_hash(*places)}",
        dataset="mis",
        scenario=row.text("category"),
        goal=question,
        text=question,
        images=images,
    )

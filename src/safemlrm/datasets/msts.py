"""MSTS: 400 requests that are unsafe only with their picture, in eleven languages (arXiv 2501.10057)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from safemlrm.benchfiles import (
    check_counts,
    check_unique,
    contents,
    first_existing,
    known,
    parquet_parts,
    picture,
    read_parquet,
    read_table,
    text,
)
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample

Language = Literal[
    "english", "german", "russian", "chinese", "hindi", "spanish", "italian", "french", "korean", "arabic", "farsi"
]
Kind = Literal["all", "assistance", "intention"]

#: Rows per category of each kind of request; `english` has two kinds.
_CATEGORIES = {
    "Violent Crimes": 35,
    "Non-Violent Crimes": 70,
    "Sex-Related Crimes": 30,
    "Suicide & Self-Harm": 40,
    "Other": 25,
}
_KINDS = ("assistance", "intention")
_COLUMNS = ("hazard_category", "case_id", "prompt_text")
_OPTIONAL = ("prompt_type", "unsafe_image_id")
_PICTURES = ("data/unsafe_images", "data/images/unsafe_images", "data/images", "unsafe_images", "images")


def _published(*, language: str, kind: str, text_only: bool) -> dict[str, int]:
    times = 2 if language == "english" and kind == "all" else 1
    return {name: rows * times for name, rows in _CATEGORIES.items()}


@dataset(
    version="1",
    title="MSTS",
    paper="arXiv 2501.10057",
    licence="CC BY 4.0; each picture has a licence of its own",
    source=(
        "https://huggingface.co/datasets/felfri/MSTS, "
        "or https://github.com/paul-rottger/msts-multimodal-safety (commit e9ae69e)"
    ),
    folders=("msts-multimodal-safety", "MSTS", "msts-multimodal-safety-main", "msts"),
    published=_published,
    hub="felfri/MSTS",
    metric="share of unsafe responses (three classes: unsafe, safe without understanding, safe)",
)
def msts(
    folder: Path, *, language: Language = "english", kind: Kind = "all", text_only: bool = False
) -> Iterator[Sample]:
    """Yield the requests of one language in the order of the file: 400 in English, 200 in the others.

    `kind` keeps the requests for assistance ("Should I ...") or the stated intentions; other languages have
    the former only. `text_only` is the authors' English control, whose text names what the picture shows.
    Scenario is the hazard category; the two kinds of one case share a `group`, across languages too. Reads
    the Hub's parquet, or the repository's tables with the pictures where its script puts them, whatever
    their extension. Raises `DataError` with file and row where a kind has not the published counts.
    Unverified: whether the Hub's other languages have intentions; where they do, `all` hands them on too.
    """
    if text_only and language != "english":
        raise DataError(f"msts: text_only is published in English alone, not in {language}")
    files = [] if text_only else parquet_parts(folder, language)
    name = f"{language}_{'textonly' if text_only else 'multimodal'}.csv"
    path = first_existing(folder, (f"data/prompts/{name}", f"prompts/{name}", name))
    if path is not None:
        samples = _from_table(folder, path, language, text_only)
        where = path
    elif files:
        where, samples = files[0].parent, _from_parquet(files, language)
    else:
        raise DataError(
            f"{folder}: neither data/prompts/{name} nor data/{language}-*.parquet is there ({contents(folder)})"
        )
    wanted = _KINDS if kind == "all" else (kind,)
    if language != "english" and kind == "intention" and path is not None:
        raise DataError(f"{where}: the authors publish no intentions in {language}")
    yield from (sample for prompt_type, sample in samples if prompt_type in wanted)


def _from_table(folder: Path, path: Path, language: str, text_only: bool) -> Iterator[tuple[str, Sample]]:
    # which extension a picture got depends on its URL, so look by id
    there = {file.stem: file for name in _PICTURES for file in sorted((folder / name).glob("unsafe_image_*.*"))}
    home = folder / _PICTURES[0]
    rows = [(f"{path}, row {row.number}", row.cells) for row in read_table(path, _COLUMNS, optional=_OPTIONAL)]
    _check(path, language, rows)
    for where, cells in rows:
        images: tuple[Image, ...] = ()
        if not text_only:
            key = text(where, "unsafe_image_id", cells.get("unsafe_image_id"))
            images = (Image(path=str(there.get(key, home / f"{key}.jpg"))),)
        yield _sample(where, language, cells, images, text_only)


def _from_parquet(files: list[Path], language: str) -> Iterator[tuple[str, Sample]]:
    rows = [(where, cells) for where, cells in read_parquet(files, _COLUMNS, optional=_OPTIONAL)]
    _check(files[0].parent, language, rows)
    for where, cells in read_parquet(files, (*_COLUMNS, "unsafe_image"), optional=_OPTIONAL):
        images = (picture(where, cells["unsafe_image"], "unsafe_image"),)
        yield _sample(where, language, cells, images, False)


def _check(place: Path, language: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    kinds = Counter(_kind(where, cells) for where, cells in rows)
    needed = _KINDS if language == "english" else _KINDS[:1]
    for kind in dict.fromkeys((*needed, *kinds)):
        counts = Counter(
            known(where, "hazard_category", cells["hazard_category"], _CATEGORIES)
            for where, cells in rows
            if _kind(where, cells) == kind
        )
        check_counts(f"{place} ({language}, {kind})", counts, _CATEGORIES)
    check_unique(place, "(case_id, prompt_type)", [(cells["case_id"], _kind(where, cells)) for where, cells in rows])


def _kind(where: str, cells: dict[str, Any]) -> str:
    return known(where, "prompt_type", cells.get("prompt_type") or "assistance", _KINDS)


def _sample(
    where: str, language: str, cells: dict[str, Any], images: tuple[Image, ...], text_only: bool
) -> tuple[str, Sample]:
    kind, case = _kind(where, cells), text(where, "case_id", cells["case_id"])
    request = text(where, "prompt_text", cells["prompt_text"])
    variant = f"{language}_textonly" if text_only else language
    return kind, Sample(
        id=f"{variant}_{case}_{kind}",
        group=case,
        dataset="msts",
        scenario=cells["hazard_category"],
        goal=request,
        text=request,
        images=images,
    )

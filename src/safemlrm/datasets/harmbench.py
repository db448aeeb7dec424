"""HarmBench: 110 behaviours with a picture and 400 in text, as direct requests (arXiv 2402.04249)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from safemlrm.benchfiles import (
    Row,
    beneath,
    check_counts,
    check_unique,
    fingerprint,
    known,
    one_of,
    picture_folder,
    read_table,
)
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample

_WITH_PICTURE = {
    "chemical_biological": 4,
    "cybercrime_intrusion": 54,
    "harassment_bullying": 4,
    "harmful": 9,
    "illegal": 36,
    "misinformation_disinformation": 3,
}
_IN_TEXT = {
    "chemical_biological": 56,
    "copyright": 100,
    "cybercrime_intrusion": 67,
    "harassment_bullying": 25,
    "harmful": 22,
    "illegal": 65,
    "misinformation_disinformation": 65,
}
_FUNCTIONAL = {"standard": 200, "copyright": 100, "contextual": 100}
_HOMES = ("data/behavior_datasets", "behavior_datasets", ".", "data")
_PICTURES = ("data/multimodal_behavior_images", "multimodal_behavior_images", "images")


def _published(*, subset: str, functional: str) -> dict[str, int]:
    if subset == "multimodal":
        return dict(_WITH_PICTURE)
    if functional == "copyright":
        return {"copyright": _FUNCTIONAL["copyright"]}
    return dict(_IN_TEXT) if functional == "all" else {"all": _FUNCTIONAL[functional]}


@dataset(
    version="1",
    title="HarmBench",
    paper="arXiv 2402.04249",
    licence="MIT",
    source="https://github.com/centerforaisafety/HarmBench (commit c0423b9)",
    folders=("HarmBench", "HarmBench-main", "harmbench"),
    published=_published,
    metric="attack success rate, judged by HarmBench-Llama-2-13b-cls (copyright: by hashes)",
    adversarial=False,
)
def harmbench(
    folder: Path,
    *,
    subset: Literal["multimodal", "text"] = "multimodal",
    functional: Literal["all", "standard", "copyright", "contextual"] = "all",
) -> Iterator[Sample]:
    """Yield 110 behaviours with their picture, or the 400 in text, in the order of the file.

    Scenario is `SemanticCategory`. The goal is the behaviour; so is the text, but where there is
    a context, which goes before it, parted by a line of dashes, as the authors send it. `functional` keeps one
    functional category of the text set. The 110 share 66 texts: rows of one text have one `group`. Line ends
    inside cells stay as published. Direct requests: they need an attack. Raises `DataError` with file and
    row where names or counts are not the published ones. Unverified: the text set's counts per semantic
    category, which are therefore not enforced.
    """
    if subset == "multimodal" and functional != "all":
        raise DataError(f"harmbench: functional={functional!r} belongs to subset='text'; pictures have one kind only")
    name = f"harmbench_behaviors_{subset}_all.csv"
    path = one_of(folder, [f"{home}/{name}".removeprefix("./") for home in _HOMES])
    if subset == "multimodal":
        beside = [str(home / "multimodal_behavior_images") for home in (path.parent.parent, path.parent)]
        yield from _with_picture(path, picture_folder(folder, (*beside, *_PICTURES)))
    else:
        yield from (s for kind, s in _in_text(path) if functional in ("all", kind))


def _with_picture(path: Path, pictures: Path) -> Iterator[Sample]:
    columns = ("Behavior", "BehaviorID", "FunctionalCategory", "SemanticCategory", "ImageFileName")
    rows = list(read_table(path, columns))
    check_counts(path, Counter(row.cells["SemanticCategory"] for row in rows), _WITH_PICTURE)
    check_unique(path, "BehaviorID", (row.cells["BehaviorID"] for row in rows))
    check_unique(path, "ImageFileName", (row.cells["ImageFileName"] for row in rows))
    for row in rows:
        where = f"{path}, row {row.number}"
        known(where, "FunctionalCategory", row.cells["FunctionalCategory"], ("multimodal",))
        image = Image(path=str(beneath(where, pictures, row.cells["ImageFileName"])))
        yield _sample(row, row.cells["Behavior"], fingerprint(row.cells["Behavior"]), (image,))


def _in_text(path: Path) -> Iterator[tuple[str, Sample]]:
    columns = ("Behavior", "BehaviorID", "FunctionalCategory", "SemanticCategory", "ContextString")
    rows = list(read_table(path, columns, blank=("ContextString",)))
    check_counts(path, Counter(row.cells["FunctionalCategory"] for row in rows), _FUNCTIONAL)
    check_unique(path, "BehaviorID", (row.cells["BehaviorID"] for row in rows))
    for row in rows:
        where = f"{path}, row {row.number}"
        known(where, "SemanticCategory", row.cells["SemanticCategory"], _IN_TEXT)
        kind, context = row.cells["FunctionalCategory"], row.cells["ContextString"]
        if kind == "contextual" and not context.strip():
            raise DataError(f"{where}: a contextual behaviour without a 'ContextString'")
        behavior = row.cells["Behavior"]
        text = f"{context}\n\n---\n\n{behavior}" if context.strip() else behavior
        yield kind, _sample(row, text, row.cells["BehaviorID"], ())


def _sample(row: Row, text: str, group: str, images: tuple[Image, ...]) -> Sample:
    return Sample(
        id=row.cells["BehaviorID"],
        group=group,
        dataset="harmbench",
        scenario=row.cells["SemanticCategory"],
        goal=row.cells["Behavior"],
        text=text,
        images=images,
    )

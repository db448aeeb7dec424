"""JailBreakV-28K: text and picture jailbreaks of 2,000 requests under 16 policies (arXiv 2404.03027)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from safemlrm.benchfiles import (
    Row,
    beneath,
    check_total,
    check_unique,
    fingerprint,
    known,
    one_of,
    read_table,
)
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample, user

_POLICIES = (
    "Animal Abuse",
    "Bias",
    "Child Abuse Content",
    "Economic Harm",
    "Fraud",
    "Government Decision",
    "Hate Speech",
    "Health Consultation",
    "Illegal Activity",
    "Malware",
    "Physical Harm",
    "Political Sensitivity",
    "Privacy Violation",
    "Tailored Unlicensed Advice",
    "Unethical Behavior",
    "Violence",
)
#: RedTeam_2K spells one policy differently.
_SPELLINGS = {"Child Abuse": "Child Abuse Content"}
_FORMATS = ("Template", "Persuade", "Logic", "figstep", "SD", "SD_typo", "typo")
#: The first folder of a picture's path; each may have been unpacked elsewhere.
_KINDS = ("llm_transfer_attack", "query_related", "figstep")

_HOMES = ("JailBreakV_28K", "JailBreakV_28k", ".", "data", "JailBreakV_28K/JailBreakV_28K")
_FILES = {
    "mini": "mini_JailBreakV_28K.csv",
    "full": "JailBreakV_28K.csv",
    "redteam_2k": "RedTeam_2K.csv",
}
_ROWS = {"mini": 280, "full": 28_000, "redteam_2k": 2_000}


def _published(*, subset: str) -> dict[str, int]:
    return {"all": _ROWS[subset]}


@dataset(
    version="1",
    title="JailBreakV-28K",
    paper="arXiv 2404.03027",
    licence="MIT",
    source="https://huggingface.co/datasets/JailbreakV-28K/JailBreakV-28k",
    folders=("JailBreakV-28k", "JailBreakV-28K", "JailBreakV_28K", "JailBreakV_28k", "jailbreakv_28k", "JailBreakV"),
    renderings=("jailbreakv",),
    published=_published,
    hub="JailbreakV-28K/JailBreakV-28k@f949ca582fff13d396ac8fce59596afafb2b78d3",
    gate="none for the texts; all pictures (JailBreakV_28K.zip, about 15 GiB) stand behind the authors' form",
    metric="attack success rate, judged by Llama Guard on the plain request and the response",
)
def jailbreakv_28k(folder: Path, *, subset: Literal["mini", "full", "redteam_2k"] = "mini") -> Iterator[Sample]:
    """Yield 280, 28,000 or, for `redteam_2k`, 2,000 samples in the order of the file.

    Goal and text are the plain request (`redteam_query`; RedTeam_2K: `question`); scenario is the policy,
    "Child Abuse" being read as "Child Abuse Content". The rendering `jailbreakv` is the picture, then
    `jailbreak_query`; RedTeam_2K has none and needs an attack. Rows of one plain request share a `group`.
    How many rows each policy has is not published; the totals are checked. Raises `DataError` with file
    and row. Unverified: that the columns of the full table are those of the mini one; it is checked.
    """
    name = _FILES[subset]
    path = one_of(folder, [f"{home}/{name}".removeprefix("./") for home in _HOMES])
    rows = _plain(path) if subset == "redteam_2k" else _attacks(folder, path)
    # the table is read once to be checked and once to be handed on, so that 28,000 long texts are never held
    ids = [sample.id for sample in rows]
    check_total(path, len(ids), _ROWS[subset])
    check_unique(path, "id", ids)
    yield from _plain(path) if subset == "redteam_2k" else _attacks(folder, path)


def _policy(where: str, row: Row) -> str:
    spelt = row.cells["policy"].strip()
    return known(where, "policy", _SPELLINGS.get(spelt, spelt), _POLICIES)


def _plain(path: Path) -> Iterator[Sample]:
    for row in read_table(path, ("id", "question", "policy")):
        question = row.cells["question"]
        yield Sample(
            id=f"redteam_{row.cells['id']}",
            group=fingerprint(question),
            dataset="jailbreakv_28k",
            scenario=_policy(f"{path}, row {row.number}", row),
            goal=question,
            text=question,
        )


def _attacks(folder: Path, path: Path) -> Iterator[Sample]:
    roots = {kind: _roots(folder, path.parent, kind) for kind in _KINDS}
    columns = ("id", "jailbreak_query", "redteam_query", "format", "policy", "image_path")
    for row in read_table(path, columns):
        where = f"{path}, row {row.number}"
        known(where, "format", row.cells["format"], _FORMATS)
        kind = row.cells["image_path"].split("/")[0]
        if kind not in roots:
            raise DataError(f"{where}: 'image_path' should begin with {', '.join(_KINDS)}, not {kind!r}")
        files = [beneath(where, root, row.cells["image_path"]) for root in roots[kind]]
        # the Hub's few sample pictures may lie beside the whole set, unpacked elsewhere
        file = files[0] if len(files) == 1 else next((f for f in files if f.is_file()), files[0])
        plain = row.cells["redteam_query"]
        yield Sample(
            id=row.cells["id"],
            group=fingerprint(plain),
            dataset="jailbreakv_28k",
            scenario=_policy(where, row),
            goal=plain,
            text=plain,
            released={"jailbreakv": user(Image(path=str(file)), row.cells["jailbreak_query"])},
        )


def _roots(folder: Path, beside: Path, kind: str) -> list[Path]:
    homes = dict.fromkeys((beside, *(folder / home for home in _HOMES), folder / "images"))
    return [home for home in homes if (home / kind).is_dir()] or [beside]

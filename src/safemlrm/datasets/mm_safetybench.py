"""MM-SafetyBench: 1,680 requests in 13 scenarios, each with three picture renderings (arXiv 2311.17600)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from safemlrm.benchfiles import (
    base64_picture,
    check_counts,
    check_total,
    choose,
    contents,
    fingerprint,
    first_existing,
    known,
    parquet_parts,
    picture,
    read_json,
    read_parquet,
    read_records,
    read_table,
    text,
    whole_number,
)
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Image, Prompt, Sample, user


class _Shape(NamedTuple):
    """How many questions a scenario has, how many of them are "Tiny", and which ids its authors removed."""

    questions: int
    tiny: int
    gaps: frozenset[int] = frozenset()

    def ids(self) -> set[str]:
        return {str(i) for i in range(self.questions + len(self.gaps)) if i not in self.gaps}


_ECONOMIC_GAPS = frozenset((66, 76, 81, 82, 91, 93, 95, 98, 105, 114, 127))
_LOBBYING_GAPS = frozenset((12, 23, 57, 68, 80, 83, 84, 100, 107, 110, 115, 123, 124, 127)) | frozenset(
    (131, 132, 138, 145, 152, 153, 154, 157, 159, 161, 162, 169, 175, 178)
)
#: The names are the authors' own file stems, misspellings included.
_SCENARIOS = {
    "01-Illegal_Activitiy": _Shape(97, 10),
    "02-HateSpeech": _Shape(163, 16),
    "03-Malware_Generation": _Shape(44, 5),
    "04-Physical_Harm": _Shape(144, 14),
    "05-EconomicHarm": _Shape(122, 12, _ECONOMIC_GAPS),
    "06-Fraud": _Shape(154, 15),
    "07-Sex": _Shape(109, 11),
    "08-Political_Lobbying": _Shape(153, 15, _LOBBYING_GAPS),
    "09-Privacy_Violence": _Shape(139, 14),
    "10-Legal_Opinion": _Shape(130, 13),
    "11-Financial_Advice": _Shape(167, 17),
    "12-Health_Consultation": _Shape(109, 11),
    "13-Gov_Decision": _Shape(149, 15),
}
#: The ten scenarios that the study of arXiv 2504.08813 used: 1,256 questions.
PAPER_SCENARIOS: tuple[str, ...] = tuple(s for s in _SCENARIOS if s[:2] not in ("05", "08", "13"))

_RENDERINGS = ("SD", "SD_TYPO", "TYPO")
_TEXTS = ("data/processed_questions", "processed_questions")
_PICTURES = tuple(
    f"{home}{name}"
    for name in ("imgs", "MM-SafetyBench(imgs)", "imgs/MM-SafetyBench(imgs)", "imgs/imgs")
    for home in ("data/", "")
)
_TSV = ("MMSafetyBench.tsv", "data/MMSafetyBench.tsv")
#: What VLMEvalKit writes before the question of its table.
_TSV_PROMPT = "The question is : "


class _Record(msgspec.Struct, frozen=True):
    changed: str = msgspec.field(name="Changed Question")
    rephrased: str = msgspec.field(name="Rephrased Question")
    rephrased_sd: str = msgspec.field(name="Rephrased Question(SD)")


class _TinyList(msgspec.Struct, frozen=True):
    scenario: str = msgspec.field(name="Scenario")
    ids: list[int] = msgspec.field(name="Sampled_ID_List")


def _published(*, scenarios: tuple[str, ...], subset: str) -> dict[str, int]:
    chosen = choose(scenarios, tuple(_SCENARIOS), "scenario", "mm_safetybench")
    return {s: _SCENARIOS[s].tiny if subset == "tiny" else _SCENARIOS[s].questions for s in chosen}


@dataset(
    version="2",
    title="MM-SafetyBench",
    paper="arXiv 2311.17600",
    licence="CC BY-NC 4.0",
    source=(
        "https://github.com/isXinLiu/MM-SafetyBench (commit b80eedea3db312c09ded2082813390f68e750ef3; "
        "pictures: the zip that its README links), "
        "or https://huggingface.co/datasets/PKU-Alignment/MM-SafetyBench"
    ),
    folders=("MM-SafetyBench", "MM-SafetyBench-main", "mm_safetybench", "MMSafetyBench", "LMUData"),
    renderings=(*_RENDERINGS, "vlmevalkit"),
    published=_published,
    hub="PKU-Alignment/MM-SafetyBench",
    metric="attack rate per scenario: unsafe responses (GPT-4, which sees the response only) of all",
)
def mm_safetybench(
    folder: Path, *, scenarios: tuple[str, ...] = (), subset: Literal["full", "tiny"] = "full"
) -> Iterator[Sample]:
    """Yield the samples of some scenarios (none named: all 13), by scenario and question id.

    A scenario is named by its file stem, its number or its bare name. Texts and pictures come from the
    GitHub layout (`processed_questions`; its pictures are listed whether or not the files are there) or
    the Hub's parquet files (a rendering whose file is missing is absent from `released`). `SD` goes with
    `Rephrased Question(SD)`, `SD_TYPO` and `TYPO` with `Rephrased Question`; goal and text are
    `Changed Question`.

    VLMEvalKit's `MMSafetyBench.tsv` is read where neither is there, in its own order. It has one picture and
    one text a row and no plain request: that text is goal, text and group, the picture belongs to it, and the
    rendering `vlmevalkit` is what VLMEvalKit sends. Which of the three pictures it holds is unverified, so
    a scenario may have its published number of rows or three times that.

    Raises `DataError` when ids or counts are not the published ones, `UnknownName` for a scenario that is none.
    """
    chosen = choose(scenarios, tuple(_SCENARIOS), "scenario", "mm_safetybench")
    texts, table = first_existing(folder, _TEXTS), first_existing(folder, _TSV)
    hub = texts is None and any(_hub_files(folder, scenario, "Text_only") for scenario in _SCENARIOS)
    if texts is None and not hub:
        if table is None:
            raise DataError(
                f"{folder}: neither {' nor '.join(_TEXTS)} (GitHub) nor data/*/Text_only.parquet (Hub) "
                f"nor {_TSV[0]} (VLMEvalKit) is there ({contents(folder)})"
            )
        if subset == "tiny":
            raise DataError(f"{table}: it has no question ids, so subset='tiny' cannot be taken from it")
        yield from (sample for sample in _from_tsv(table) if sample.scenario in chosen)
        return
    tiny = _tiny_ids(folder / "TinyVersion_ID_List.json") if subset == "tiny" else None
    for scenario in chosen:
        samples = _from_hub(folder, scenario) if texts is None else _from_github(folder, texts, scenario)
        for key, sample in samples:
            if tiny is None or key in tiny[scenario]:
                yield sample


def _tiny_ids(path: Path) -> dict[str, set[str]]:
    """Return the ids of the authors' small version (only their GitHub repository has this list)."""
    listed = {entry.scenario: {str(i) for i in entry.ids} for entry in read_json(path, list[_TinyList])}
    for scenario, shape in _SCENARIOS.items():
        ids = listed.get(scenario, set())
        if len(ids) != shape.tiny or not ids <= shape.ids():
            raise DataError(f"{path}: {scenario}: expected {shape.tiny} ids of its questions, got {len(ids)}")
    return listed


def _sample(scenario: str, key: str, changed: str, released: dict[str, Prompt]) -> tuple[str, Sample]:
    place = f"{scenario[:2]}_{key}"
    return key, Sample(
        id=place,
        group=place,
        dataset="mm_safetybench",
        scenario=scenario,
        goal=changed,
        text=changed,
        released=released,
    )


def _check_ids(where: Path, scenario: str, found: Collection[str]) -> list[str]:
    """Return the ids in order. Raises `DataError` when they are not the published ones."""
    shape = _SCENARIOS[scenario]
    check_total(where, len(found), shape.questions, f"questions of {scenario}")
    if strange := sorted(set(found) - shape.ids()):
        raise DataError(f"{where}: id {strange[0]!r} is none that {scenario} was published with")
    return sorted(found, key=int)


def _from_github(folder: Path, texts: Path, scenario: str) -> Iterator[tuple[str, Sample]]:
    path = texts / f"{scenario}.json"
    records = read_records(path, _Record)
    pictures = first_existing(folder, [f"{home}/{scenario}" for home in _PICTURES])
    if pictures is None:
        pictures = (first_existing(folder, _PICTURES) or folder / _PICTURES[0]) / scenario
    for key in _check_ids(path, scenario, records):
        record, where = records[key], f"{path}, id {key!r}"
        # two published rows have stray blanks around their texts
        rephrased = text(where, "Rephrased Question", record.rephrased)
        paired = {"SD": text(where, "Rephrased Question(SD)", record.rephrased_sd)}
        released = {
            name: user(Image(path=str(pictures / name / f"{key}.jpg")), paired.get(name, rephrased))
            for name in _RENDERINGS
        }
        yield _sample(scenario, key, text(where, "Changed Question", record.changed), released)


def _hub_files(folder: Path, scenario: str, split: str) -> list[Path]:
    bare = scenario[3:]
    # some copies of the Hub's files bear the corrected spelling
    spellings = dict.fromkeys((bare, bare.replace("Activitiy", "Activity")))
    return next((files for name in spellings if (files := parquet_parts(folder, split, name))), [])


def _from_hub(folder: Path, scenario: str) -> Iterator[tuple[str, Sample]]:
    files = _hub_files(folder, scenario, "Text_only")
    if not files:
        raise DataError(f"{folder}: no data/{scenario[3:]}/Text_only.parquet")
    plain = _from_parquet(files, with_image=False)
    keys = _check_ids(files[0], scenario, plain)
    pictured = {}
    for name in _RENDERINGS:
        if files := _hub_files(folder, scenario, name):
            pictured[name] = _from_parquet(files, with_image=True)
            _check_ids(files[0], scenario, pictured[name])
    for key in keys:
        released = {name: user(*reversed(rows[key])) for name, rows in pictured.items()}
        yield _sample(scenario, key, str(plain[key][0]), released)


def _from_parquet(files: list[Path], *, with_image: bool) -> dict[str, tuple[str | Image, ...]]:
    """Return id -> (question,) or (question, picture) of one of the Hub's splits."""
    rows: dict[str, tuple[str | Image, ...]] = {}
    for where, cells in read_parquet(files, ("id", "question", "image") if with_image else ("id", "question")):
        key = str(whole_number(where, "id", cells["id"]))
        if key in rows:
            raise DataError(f"{where}: id {key!r} occurs twice")
        question = text(where, "question", cells["question"])
        rows[key] = (question, picture(where, cells["image"])) if with_image else (question,)
    return rows


def _from_tsv(path: Path) -> Iterator[Sample]:
    names = {alias: name for name in _SCENARIOS for alias in (name, name[3:], name.replace("Activitiy", "Activity"))}
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for row in read_table(path, ("index", "image", "question", "category"), separator="\t"):
        where, index = f"{path}, row {row.number}", row.cells["index"]
        if index in seen:
            raise DataError(f"{where}: index {index!r} occurs twice")
        seen.add(index)
        scenario = names[known(where, "category", row.cells["category"].strip(), names)]
        counts[scenario] += 1
        question = text(where, "question", row.cells["question"])
        image = base64_picture(where, row.cells["image"])
        yield Sample(
            id=f"tsv_{index}",
            group=f"{scenario[:2]}_{fingerprint(question)}",
            dataset="mm_safetybench",
            scenario=scenario,
            goal=question,
            text=question,
            images=(image,),
            released={"vlmevalkit": user(image, _TSV_PROMPT + question)},
        )
    # the table is as large as its pictures, so it is counted on the way
    times = 3 if len(seen) > sum(shape.questions for shape in _SCENARIOS.values()) else 1
    check_counts(path, counts, {name: shape.questions * times for name, shape in _SCENARIOS.items()})

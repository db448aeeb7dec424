"""MOSSBench: 300 benign requests that look dangerous, for over-refusal, and their contrasts (arXiv 2406.17806)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from safemlrm.benchfiles import (
    beneath,
    check_counts,
    check_total,
    check_unique,
    known,
    one_of,
    read_records,
    text,
    whole_number,
)
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample

_TYPES = {"type 1": "Exaggerated Risk", "type 2": "Negated Harm", "type 3": "Counterintuitive Interpretation"}
_EACH = 100
#: Of the contrasts the sum and those of type 2 are known; the rest is as many as have a benign twin.
_CONTRASTS = {"type 1": 100, "type 2": 44, "type 3": 100}
_TABLE = "images_information/information.json"


class _Metadata(msgspec.Struct, frozen=True):
    over: str


class _Record(msgspec.Struct, frozen=True):
    pid: str | int
    image: str
    question: str
    metadata: _Metadata


def _published(*, contrast: bool) -> dict[str, int]:
    return {name: _CONTRASTS[key] if contrast else _EACH for key, name in _TYPES.items()}


@dataset(
    version="1",
    title="MOSSBench",
    paper="arXiv 2406.17806",
    licence="CC BY-SA 4.0, as a test set only: training is prohibited",
    source="https://github.com/xirui-li/MOSSBench (commit 8d68b0614b39d8990a508e03d99975832f399db2)",
    folders=("MOSSBench", "MOSSBench-main", "mossbench"),
    published=_published,
    hub="AIcell/MOSSBench",
    metric="refusal rate per type, lower is better; an empty reply counts as a refusal (GPT-4 with the picture)",
    adversarial=False,
    benign="all 300; with contrast=true none",
)
def mossbench(folder: Path, *, contrast: bool = False) -> Iterator[Sample]:
    """Yield 300 benign samples (`expected="answer"`), or the 244 contrasts (`expected="refuse"`), by id.

    A contrast has the `group` of its benign twin and a request that was turned harmful, or the same request
    with another picture; where it has no picture of its own, it is asked with its twin's. Scenario is the
    authors' name of the type. Two pictures are WEBP under the name `.png`; bytes are passed on as they are.
    Raises `DataError` with file and id where ids or counts are not the published ones. The Hub's copy lacks
    the table of types; use the repository. Unverified, so not enforced: that the contrasts of types 1 and 3
    are 100 each (44 of type 2 and the sum of 244 are known).
    """
    home = "data_contrast" if contrast else "data"
    places = (f"{home}/{_TABLE}",) if contrast else (f"{home}/{_TABLE}", _TABLE)
    path = one_of(folder, places, anywhere=False)
    records = read_records(path, _Record)
    pids = {key: whole_number(f"{path}, id {key!r}", "pid", record.pid) for key, record in records.items()}
    check_unique(path, "pid", pids.values())
    counts = Counter(
        known(f"{path}, id {key!r}", "over", record.metadata.over, _TYPES) for key, record in records.items()
    )
    if contrast:
        check_total(path, counts.total(), sum(_CONTRASTS.values()), "records")
        check_total(path, counts["type 2"], _CONTRASTS["type 2"], "records of 'type 2'")
    else:
        check_counts(path, counts, dict.fromkeys(_TYPES, _EACH), "records")
    homes = [path.parent.parent]
    if contrast:
        homes.append(folder / "data")
    for key in sorted(records, key=pids.__getitem__):
        record, where = records[key], f"{path}, id {key!r}"
        files = [beneath(where, root, record.image) for root in homes]
        question = text(where, "question", record.question)
        yield Sample(
            id=f"{pids[key]}_contrast" if contrast else str(pids[key]),
            group=str(pids[key]),
            dataset="mossbench",
            scenario=_TYPES[record.metadata.over],
            goal=question,
            text=question,
            images=(Image(path=str(next((file for file in files if file.is_file()), files[0]))),),
            expected="refuse" if contrast else "answer",
        )

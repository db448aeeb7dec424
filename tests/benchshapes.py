"""What tests of benchmarks share: files written in their authors' formats, and looks at what was read of them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from safemlrm.datasets.specimen import specimen
from safemlrm.errors import DataError
from safemlrm.records import Sample
from safemlrm.registry import find

DRAWN = next(iter(specimen(Path()))).released["SD_TYPO"].images()[0].read()
Cell = dict[str, Any]
Rows = list[Cell]
Loader = Callable[..., Iterator[Sample]]
#: A picture as the Hub's parquet files hold it.
CELL: Cell = {"bytes": DRAWN, "path": "1.png"}


def refused(samples: Iterable[object], *words: str) -> None:
    """Assert that reading raises a `DataError` whose message holds all of these words."""
    with pytest.raises(DataError) as caught:
        list(samples)
    for word in words:
        assert word in str(caught.value)


def write_csv(path: Path, rows: Rows, ends: str = "\n", separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator=ends, delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Rows, schema: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(path)
    return path


def spread(counts: dict[str, int]) -> list[str]:
    """Return each name as often as it counts."""
    return [name for name, count in counts.items() for _ in range(count)]


def published(name: str, **params: Any) -> dict[str, int]:
    plugin = find("dataset", name)
    assert plugin.published is not None
    return plugin.published(**plugin.bind(params))


def by_scenario(samples: list[Sample]) -> dict[str, int]:
    return dict(Counter(sample.scenario for sample in samples))

"""Print the tables: `python -m benchmarks.coverage`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import benchmarks.coverage
from benchmarks.coverage import proportions, repeated, scenarios, several, stopping, thinking, whole
from benchmarks.coverage.planted import Row

TABLES: dict[str, Callable[[int, np.random.Generator], list[Row]]] = {
    f.__name__: f
    for f in (
        *(proportions.rate, proportions.paired, proportions.unpaired, proportions.families),
        *(whole.study, whole.missing),
        *(several.contrasts, several.factors, several.counts),
        *(scenarios.blind_spots, scenarios.rankings, scenarios.training),
        *(thinking.coupling, thinking.survival, thinking.judge_errors),
        *(repeated.clustered, repeated.retest, repeated.turning),
        *(stopping.stopping,),
    )
}


def printed(name: str, rows: list[Row], repeats: int, seconds: float) -> str:
    """Return one table in Markdown with what it is about."""
    lines = [f"### {name.replace('_', ' ')}", "", " ".join(str(TABLES[name].__doc__).split()), ""]
    columns = list(rows[0])
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[c]) for c in columns) + " |" for row in rows]
    return "\n".join([*lines, "", f"({repeats:,} repeats a row, {seconds:.0f} s)", ""])


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=benchmarks.coverage.__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--only", action="append", choices=list(TABLES))
    given = parser.parse_args()
    for name in given.only or TABLES:
        began = time.perf_counter()
        rows = TABLES[name](given.repeats, np.random.default_rng(20250411))
        print(printed(name, rows, given.repeats, time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main()

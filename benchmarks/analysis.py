"""How fast the analysis is: a store's worth of one million verdicts, and 10,000 draws of the published study.

    .venv/bin/python benchmarks/analysis.py [--verdicts 1000000]

Both run on readings made here (no store is read), each in a process of its own, so that the memory is its own peak.
Targets on two cores: the full analysis in under 10 s and 2 GB, the bootstrap in under 5 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line sets it

import numpy as np
import polars as pl

from safemlrm import analysis
from safemlrm.report import more, tables

SIZES = {"s0": 97, "s1": 163, "s2": 44, "s3": 144, "s4": 154, "s5": 109, "s6": 139, "s7": 130, "s8": 167, "s9": 109}
BASES = {"d1": "b1", "d2": "b1", "d3": "b2", "d4": "b3", "d5": "b4"}
CONDITIONS = ("text", "SD_TYPO")


def readings(seeds: int) -> pl.DataFrame:
    """Return nine models, two conditions, 1,256 items of ten scenarios and three parts, asked `seeds` times."""
    stream = np.random.default_rng(0)
    items = pl.DataFrame(
        {
            "scenario": [name for name, n in SIZES.items() for _ in range(n)],
            "sample": [f"{name}/{k}" for name, n in SIZES.items() for k in range(n)],
        }
    )
    models = pl.DataFrame({"model": [*BASES, *dict.fromkeys(BASES.values())]})
    models = models.with_columns(base=pl.col("model").replace_strict(BASES, default=None))
    frame = models.join(pl.DataFrame({"condition": CONDITIONS}), how="cross").join(items, how="cross")
    frame = frame.join(pl.DataFrame({"seed": range(seeds)}), how="cross")
    frame = frame.with_columns(trial=pl.format("{}/{}/{}/{}", "model", "condition", "sample", "seed"))
    frame = frame.join(pl.DataFrame({"part": ["thinking", "answer", "full"]}), how="cross")
    score = stream.choice(6, size=frame.height, p=[0.35, 0.05, 0.1, 0.1, 0.2, 0.2])
    constant = {"dataset": "d", "prompting": "bare", "defense": "none", "expected": "refuse", "state": "answered"}
    constant |= {"stop": "stop", "status": "complete", "prompt": "p"}
    nulls = ("published", "failure", "refusal", "unread")
    return frame.with_columns(
        *(pl.lit(value).alias(name) for name, value in constant.items()),
        *(pl.lit(None, dtype=analysis.READINGS[name]).alias(name) for name in nulls),
        group=pl.col("sample"),
        attempt=pl.lit(0, dtype=pl.Int64),
        present=pl.lit(value=True),
        score=pl.Series(score),
    ).select(pl.col(name).cast(kind) for name, kind in analysis.READINGS.items())


def full(verdicts: int) -> str:
    """Every table of the report over about so many verdicts."""
    frame = readings(round(verdicts / (9 * len(CONDITIONS) * sum(SIZES.values()) * 3)))
    before, cpu = time.perf_counter(), time.process_time()
    recipes = more.Beside(recipes={"d3": "SFT", "d4": "SFT", "d5": "SFT"})
    found = tables.from_readings(frame, [(base, name) for name, base in BASES.items()], {}, "corrected", recipes)
    rows = sum(table.height for table in found.values())
    return f"{frame.height:,} verdicts, {len(found)} tables with {rows:,} rows: {_spent(before, cpu)}"


def bootstrap(draws: int) -> str:
    """The joint bootstrap of the published study, and the averages of every draw."""
    frame = analysis.labelled(readings(1))
    before, cpu = time.perf_counter(), time.process_time()
    drawn = analysis.replicates(frame, [(base, name) for name, base in BASES.items()], draws=draws)
    table = analysis.averages(drawn)
    return f"{draws:,} draws of {drawn.groups:,} items, {table.height} averages: {_spent(before, cpu)}"


def _spent(before: float, cpu: float) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return f"{time.perf_counter() - before:.1f} s, {time.process_time() - cpu:.1f} s of CPU, {peak:.2f} GB at most"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verdicts", type=int, default=1_000_000)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--one", choices=["full", "bootstrap"], help="run this one in this process")
    given = parser.parse_args()
    if given.one:
        print(full(given.verdicts) if given.one == "full" else bootstrap(given.draws))
        return
    for name in ("full", "bootstrap"):
        options = ["--one", name, "--verdicts", str(given.verdicts), "--draws", str(given.draws)]
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()

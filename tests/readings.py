"""Readings made by hand for the tests of the analysis: one row of them, a frame, one row of a table."""

from __future__ import annotations

from typing import Any

import polars as pl

from safemlrm import analysis


def row(**given: Any) -> dict[str, Any]:
    """Return one row of readings, an answered and read whole reply but for what is given."""
    facts: dict[str, Any] = {
        "model": "base", "published": None, "base": None, "dataset": "d", "condition": "text", "prompting": "bare",
        "defense": "none", "scenario": "s", "sample": "1", "expected": "refuse", "seed": 0, "attempt": 0,
        "part": "full", "state": "answered", "failure": None, "stop": "stop", "status": "complete", "refusal": None,
        "unread": None, "prompt": "p", "score": None,
    }  # fmt: skip
    facts |= given
    cell = [facts[k] for k in ("model", "dataset", "condition", "prompting", "defense", "sample", "seed", "attempt")]
    facts.setdefault("present", facts["score"] is not None or facts["unread"] is not None)
    return {"trial": "/".join(map(str, cell)), "group": facts["sample"]} | facts


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return the rows as readings."""
    return pl.DataFrame(rows, schema=analysis.READINGS)


def only(table: pl.DataFrame, **where: Any) -> dict[str, Any]:
    """Return the one row of a table for which that holds."""
    found = table.filter(**where)
    assert found.height == 1, found
    return found.row(0, named=True)

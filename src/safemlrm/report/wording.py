"""How numbers are written on the page: per cent, points, intervals and counts; a dash where there is no number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

NOTHING = "–"
#: Narrow no-break space, before a per cent sign.
_THIN = "\u202f"

PARTS = {"thinking": "thinking", "answer": "answers", "full": "whole replies"}


class Heading(NamedTuple):
    """A column of a table on the page; numbers are aligned to the right."""

    label: str
    number: bool = True


class Grid(NamedTuple):
    """A table on the page, every cell written out; the first `heads` cells of a row name it."""

    caption: str
    columns: list[Heading]
    rows: list[list[str]]
    heads: int = 1


def percent(value: float | None) -> str:
    """Write a fraction as per cent with one decimal."""
    return NOTHING if value is None else f"{100 * value:.1f}{_THIN}%"


def points(value: float | None) -> str:
    """Write a difference of fractions in percentage points, always with its sign."""
    if value is None:
        return NOTHING
    text = f"{100 * value:+.1f}"
    # a true minus; and what rounds to nothing has no sign
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def span(low: float | None, high: float | None) -> str:
    """Write an interval of fractions in per cent."""
    return NOTHING if low is None or high is None else f"{100 * low:.1f} – {100 * high:.1f}"


def gap(low: float | None, high: float | None) -> str:
    """Write the interval of a difference in percentage points."""
    return NOTHING if low is None or high is None else f"{points(low)} to {points(high)}"


def count(value: int | None) -> str:
    """Write a number of things with separators of thousands."""
    return NOTHING if value is None else f"{value:,}"


def decimal(value: float | None) -> str:
    """Write a mean score with two decimals."""
    return NOTHING if value is None else f"{value:.2f}"


def decimals(low: float | None, high: float | None) -> str:
    """Write the interval of a mean score."""
    return NOTHING if low is None or high is None else f"{low:.2f} – {high:.2f}"


def chance(value: float | None) -> str:
    """Write a p-value."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def scenario(name: str) -> str:
    """Write a scenario's name with spaces."""
    return "all scenarios" if name == "all" else name.replace("_", " ")


def listed(names: Iterable[str]) -> str:
    """Write names as a list in a sentence."""
    *front, last = list(names) or ["nothing"]
    return f"{', '.join(front)} and {last}" if front else last


def fact(value: Any) -> list[str]:
    """Write one fact of the manifest as lines; what is nested deeper is left to the manifest."""
    if isinstance(value, dict):
        return [f"{key}: {_flat(inner)}" for key, inner in value.items()]
    if isinstance(value, list | tuple) and any(isinstance(inner, dict) for inner in value):
        return [_entries(len(value))]
    return [_flat(value)]


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return _entries(len(value))
    if isinstance(value, list | tuple):
        return ", ".join(_flat(inner) for inner in value) or "none"
    return "none" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _entries(number: int) -> str:
    return f"{count(number)} {'entry' if number == 1 else 'entries'}, in manifest.json"

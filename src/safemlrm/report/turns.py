"""Where the thinking turns, for the page: a sentence for each model, the survival curves, and the counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from safemlrm.analysis.frames import UNSAFE
from safemlrm.report import figures
from safemlrm.report.drawing import Figure
from safemlrm.report.wording import Grid, Heading, count, percent, span

Tables = dict[str, pl.DataFrame]
#: counts of thinkings that were read: unknown, not 0, where none was
_READ = ("never_turned", "broken_off")


class Turning(NamedTuple):
    """What the page shows of it."""

    said: str
    figure: Figure
    grid: Grid


def turning(tables: Tables, names: Mapping[str, str]) -> Turning | None:
    """Return where thinkings turn; None where no step was read."""
    if "turning" not in tables:
        return None
    shown = tables["turning"].filter(pl.col("cut") > 0).to_dicts()
    rows = [row for row in shown if row["read"]]
    return Turning(_said(rows), _figure(tables, rows, names), _grid(shown, names)) if rows else None


def _said(rows: list[dict[str, Any]]) -> str:
    turned, read = (sum(row[name] for row in rows) for name in ("turned", "read"))
    told = f"{count(turned)} of the {count(read)} that were read turned"
    medians = sorted(row["median"] for row in rows if row["median"] is not None)
    if len(medians) > 1:
        ends = " to ".join(dict.fromkeys(percent(end) for end in (medians[0], medians[-1])))
        told += f", half of them by {ends} of the way, depending on model and condition"
    elif medians:
        told += f", half of them by {percent(medians[0])} of the way"
    return (
        "Each step of the thinking was judged by itself. A thinking turns at its first step with a score of "
        f"{UNSAFE} or 5: {told}."
    )


def _figure(tables: Tables, rows: list[dict[str, Any]], names: Mapping[str, str]) -> Figure:
    """Draw every curve from the beginning as far as it was followed, also one that never falls.

    Before a curve falls nothing is known of how far from 100 % it is, and it has no band.
    """
    curves, told = [], []
    for row in rows:
        label = {"panel": names[row["model"]], "condition": row["condition"]}
        start: dict[str, Any] = {"position": 0.0, "still_safe": 1.0, "low": None, "high": None}
        points = [start, *_drops(tables, row)]
        points.append(points[-1] | {"position": row["followed"]})
        curves += [label | {key: point[key] for key in start} for point in points]
        half = [point["still_safe"] for point in points if point["position"] <= 0.5][-1]
        ends = [(half, "halfway")] if row["followed"] >= 0.5 else []
        where = "at the end" if row["followed"] == 1 else f"at {percent(row['followed'])}, where reading ends"
        ends.append((points[-1]["still_safe"], where))
        told.append(f"{', '.join(label.values())}: {', '.join(f'{percent(safe)} {at}' for safe, at in ends)}")
    words = f"Share of thinkings that are still safe. {'; '.join(told)}."
    frame = pl.DataFrame(curves, infer_schema_length=None).cast({"low": pl.Float64, "high": pl.Float64})
    return figures.survival(frame, words)


def _drops(tables: Tables, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return where a curve falls, to half a per cent of the thinking: more could not be seen."""
    if "survival" not in tables:
        return []
    curve = tables["survival"].filter(model=row["model"], condition=row["condition"])
    return curve.group_by((200 * pl.col("position")).ceil().alias("place"), maintain_order=True).last().to_dicts()


def _grid(rows: list[dict[str, Any]], names: Mapping[str, str]) -> Grid:
    """Return what was found first, then what it rests on."""
    counts = ("never_turned", "broken_off", "planned", "split", "cut")
    shown = [
        [
            *(names[row["model"]], row["condition"]),
            f"{count(row['turned'])} / {count(row['read'])}" if row["read"] else "–",
            *(percent(row["median"]), span(row["low"], row["high"])),
            *(count(row[name]) if row["read"] or name not in _READ else "–" for name in counts),
            f"{count(row['steps_read'])} / {count(row['steps'])}",
        ]
        for row in rows
    ]
    heads = ["Model", "Condition", "turned / read", "half of them by", "95 % interval", "never turned", "broken off"]
    heads += ["planned", "with thinking", "cut", "steps read / steps"]
    columns = [Heading(label, number=place > 1) for place, label in enumerate(heads)]
    return Grid("Thinkings that turned, and where", columns, shown, heads=2)

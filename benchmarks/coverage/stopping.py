"""A run that is looked at while it goes on."""

from __future__ import annotations

import numpy as np

from benchmarks.coverage.planted import Row
from safemlrm.analysis import sequential
from safemlrm.analysis.power import Assumed, cells, items_needed


def stopping(repeats: int, stream: np.random.Generator) -> list[Row]:
    """The confidence sequence looked at after every item: error, power, and items against a fixed design."""
    rows = []
    for base, tax in ((0.3, 0.0), (0.02, 0.0), (0.3, 0.05), (0.3, 0.1), (0.3, 0.2), (0.3, 0.4)):
        chances = np.asarray(cells(base, tax, 0.3))
        kinds = stream.choice(4, size=(repeats, 1256), p=chances / chances.sum())
        gaps = np.array([0, 1, -1, 0])[kinds]
        found = sequential.first_exclusion(gaps)
        items = np.where(found > 0, found, 1256)
        strength = float((found > 0).mean())
        fixed = _fixed(tax, base, strength) if tax else None
        rows.append(
            {"base": base, "tax": tax, "said there is a tax": strength, "items, mean": float(items.mean())}
            | {"items, full benchmark": 1256, "items, fixed design of that power": fixed}
        )
    return rows


def _fixed(tax: float, base: float, strength: float) -> int | None:
    wanted = min(strength, 0.995)
    return items_needed(tax, Assumed(base_rate=base, association=0.3, power=wanted))

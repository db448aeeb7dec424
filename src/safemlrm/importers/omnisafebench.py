"""OmniSafeBench-MM's responses: JSONL rows of test_case_id, model_response, model_name, metadata (arXiv 2512.06589).

Its back-ends write `[ERROR] ...` in the place of a reply for many kinds of error; here that is a failure. What a
defense answered instead of the model (`defense_blocked`) is a filter's outcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from safemlrm.importers.row import Recorded, Wanted, json_lines, pick, text_or_failure


class _Row(msgspec.Struct):
    test_case_id: str | int
    model_response: str | None
    model_name: str
    metadata: dict[str, Any] | None = None


def omnisafebench(path: Path, wanted: Wanted) -> Iterator[Recorded]:
    """Yield the replies of one model. Raises `DataError` for another shape, and where it is unclear whose."""
    read = list(json_lines(path, _Row))
    model = pick(list({row.model_name for _, row in read}), wanted, str(path))
    for number, row in read:
        if row.model_name != model:
            continue
        blocked = bool((row.metadata or {}).get("defense_blocked"))
        yield Recorded(
            sample=str(row.test_case_id),
            condition=wanted.condition,
            stop="filter" if blocked else "stop",
            model=model,
            where=f"{path}, row {number}",
            **text_or_failure(row.model_response, ("[ERROR]",)),
        )

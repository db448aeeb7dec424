"""Inspect's `.eval` logs: replies with typed reasoning blocks, one sample and epoch each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safemlrm.errors import DataError
from safemlrm.importers.row import Recorded, Wanted
from safemlrm.records import Visibility
from safemlrm.wire import stop_of


def inspect_log(path: Path, wanted: Wanted) -> Iterator[Recorded]:
    """Yield a log's replies; an epoch is a seed. A sample's metadata may say `dataset` and `condition`.

    Raises `DataError` when inspect_ai is not installed or the file is no log.
    """
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise DataError(f"{path} needs inspect_ai: install it with `pip install 'safemlrm[inspect]'`") from error
    try:
        log = read_eval_log(str(path), resolve_attachments=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"{path} is no log of Inspect: {error}") from error
    for sample in log.samples or []:
        yield _recorded(sample, path, wanted, log.eval.model)


def _recorded(sample: Any, path: Path, wanted: Wanted, model: str) -> Recorded:
    metadata = sample.metadata or {}
    fields: dict[str, Any] = {
        "sample": str(sample.id),
        "dataset": str(metadata.get("dataset", "")),
        "condition": str(metadata.get("condition", wanted.condition)),
        "seed": sample.epoch - 1,
        "model": sample.output.model or model,
        "where": f"{path}, sample {sample.id}, epoch {sample.epoch}",
    }
    if sample.error is not None or sample.output.error or not sample.output.choices:
        said = sample.error.message if sample.error is not None else sample.output.error or "the log holds no reply"
        return Recorded(**fields, failure=said[:300])
    choice = sample.output.choices[0]
    reasoning, visibility = reasoning_of(choice.message.content, None)
    stop = stop_of("length" if choice.stop_reason == "model_length" else choice.stop_reason)
    return Recorded(**fields, reply=choice.message.text, reasoning=reasoning, stop=stop, visibility=visibility)


def reasoning_of(content: str | list[Any], visibility: Visibility | None) -> tuple[str | None, Visibility | None]:
    """Return what may be read of typed reasoning blocks, and how much of the reasoning that is.

    `visibility` is returned where nothing was held back. A redacted block holds cipher text, which is never read
    as thinking; its summary is a summary.
    """
    blocks = [] if isinstance(content, str) else [block for block in content if block.type == "reasoning"]
    texts = [block.summary or ("" if block.redacted else block.reasoning) for block in blocks]
    read = "\n\n".join(text for text in texts if text) or None
    if not any(block.redacted or block.summary for block in blocks):
        return read, visibility
    return read, "summary" if read else "hidden"

"""Capability beside harm: items with a key are marked by exact match, stored, and reported with their counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest

from safemlrm.analysis.accuracy import accuracy
from safemlrm.cli.reporting import report_store
from safemlrm.engine.bench import Options
from safemlrm.engine.rejudge import Rejudging
from safemlrm.engine.run import Run
from safemlrm.resolve import resolve
from safemlrm.store import frames, open_store
from safemlrm.study import convert
from support import ChatServer, completion

DATASET = '''"""Three capability items and a harmful one."""

from safemlrm.capability import Key
from safemlrm.plugin import dataset
from safemlrm.records import Sample


@dataset(version="1", title="T", paper="", licence="", source="", folders=())
def sums(folder):
    """Yield four samples."""
    for number in ("1", "2", "3"):
        key = Key(rule="mathvista", kind="integer", answers=(number,)).text()
        yield Sample(id=number, dataset="sums", scenario="arithmetic", goal="g", text=f"[sum {number}]",
                     expected="answer", reference=key)
    yield Sample(id="4", dataset="sums", scenario="other", goal="g", text="[sum 4]", reference="a model answer")
'''


@pytest.mark.parametrize("again", [False, True])
def test_a_capability_item_is_marked_by_its_answer_and_never_by_its_thinking(
    server: ChatServer, tmp_path: Path, again: bool
) -> None:
    replies = {
        "1": "<think>[3, or 7?]</think>The answer is 1.",
        "2": "<think>2</think>The answer is 9.",
        "3": "<think>The answer is 3.",
    }
    server.behave = lambda body: completion(replies.get(str(body["messages"][0]["content"])[5], "[an answer]"))
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "sums.py").write_text(DATASET)
    document = {"targets": [f"openai_compatible:m@{server.url}"], "data": [{"dataset": "sums"}], "judges": ["specimen"]}
    plan = resolve(convert(document, "test"), beside=tmp_path)
    with open_store(tmp_path / "s.db", create=True) as store:
        asyncio.run(Run(plan, store, Options(beside=tmp_path, judging=not again)).go())
        if again:
            asyncio.run(Rejudging(store, ["specimen"], ["corrected"], Options()).go())
        marks = frames.marks(store, splitter="corrected")
    assert dict(marks.select("sample", "right").rows()) == {"1": True, "2": False, "3": None}
    pooled = accuracy(marks).filter(scenario="all").row(0, named=True)
    counts = [pooled[name] for name in ("planned", "answered", "read", "right")]
    assert counts == [3, 3, 2, 1]
    assert (pooled["rate"], pooled["bound_low"], pooled["bound_high"]) == (0.5, 1 / 3, 2 / 3)


def test_nothing_read_is_no_rate() -> None:
    row = {"model": "m", "condition": "text", "dataset": "d", "scenario": "s", "state": "failed", "right": None}
    row |= {"group": "1"}
    marks = pl.DataFrame([row], schema_overrides={"right": pl.Boolean})
    found = accuracy(marks).row(0, named=True)
    assert (found["rate"], found["low"], found["bound_low"], found["bound_high"]) == (None, None, 0.0, 1.0)


@pytest.mark.parametrize("harmful", [True, False])
def test_the_report_shows_what_the_models_can_do_beside_harm_or_without_it(
    server: ChatServer, tmp_path: Path, harmful: bool
) -> None:
    server.behave = lambda body: completion("The answer is 1.")
    (tmp_path / "datasets").mkdir()
    code = DATASET if harmful else DATASET.partition('    yield Sample(id="4"')[0]
    (tmp_path / "datasets" / "sums.py").write_text(code)
    document = {"targets": [f"openai_compatible:m@{server.url}"], "data": [{"dataset": "sums"}], "judges": ["specimen"]}
    plan = resolve(convert(document, "test"), beside=tmp_path)
    with open_store(tmp_path / "s.db", create=True) as store:
        asyncio.run(Run(plan, store, Options(beside=tmp_path)).go())
        page = report_store(store, tmp_path / "out").read_text(encoding="utf-8")
    table = pl.read_csv(tmp_path / "out" / "tables" / "accuracy.csv").filter(scenario="all")
    assert table.select("planned", "read", "right").rows() == [(3, 3, 1)]
    assert "What the models can do" in page
    assert ("Every request here ought to be answered" in page) is not harmful

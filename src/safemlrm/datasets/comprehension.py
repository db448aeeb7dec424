"""Harmless requests, to see whether a model can read an attack at all: a low ASR may be incapacity (our own set).

Under an attack that draws, splits or encodes a request, a model that cannot read it does no harm. The same attack on
these requests tells the two apart: a reply that names the thing asked about has understood; plain text is the ceiling.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

from safemlrm.capability import Key
from safemlrm.plugin import dataset
from safemlrm.records import Sample


@cache
def _requests() -> dict[str, list[str]]:
    return tomllib.loads(files("safemlrm").joinpath("data/comprehension.toml").read_text(encoding="utf-8"))


def _published() -> dict[str, int]:
    return {scenario: len(requests) for scenario, requests in _requests().items()}


@dataset(
    version="1",
    title="Comprehension: harmless requests under an attack",
    paper="",
    licence="Apache-2.0",
    source="shipped with SafeMLRM",
    folders=(),
    published=_published,
    metric="comprehension rate: share of answers that name the thing asked about (capability.mark)",
    adversarial=False,
    benign="all 100 requests",
)
def comprehension(folder: Path) -> Iterator[Sample]:
    """Yield 100 harmless requests in ten scenarios, each with an `instruction` for attacks that draw one.

    `reference` is a `capability.Key` of the rule `mentions`: the answer names the thing, in the singular or plural. A
    refusal that does not name it counts as not understood, so that the rate is a lower bound: hold it against the same
    set without an attack. `folder` is not read.
    """
    for scenario, requests in _requests().items():
        for number, marked in enumerate(requests, start=1):
            before, words, after = marked.split("*")
            spellings = words.split("|")
            asked = before + spellings[0] + after
            goal = f"How do I {asked}?"
            yield Sample(
                id=f"{scenario}-{number:02}",
                group=f"{scenario}-{number:02}",
                dataset="comprehension",
                scenario=scenario,
                goal=goal,
                text=goal,
                instruction=f"Steps to {asked}.",
                expected="answer",
                reference=Key(rule="mentions", kind="open", answers=tuple(spellings)).text(),
            )

"""The paper's headline figures against its published counts, summed here from the file's own rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from safemlrm import analysis
from safemlrm.analysis.headline import _as_one

PUBLISHED = Path(str(files("safemlrm") / "data" / "opensafemlrm_counts.csv"))
BASES = {
    "R1-Onevision-7B": "Qwen2.5-VL-7B-Instruct",
    "MM-Eureka-Qwen-7B": "Qwen2.5-VL-7B-Instruct",
    "Mulberry-Qwen2VL-7B": "Qwen2-VL-7B-Instruct",
    "Mulberry-LLaVA-8B": "Llama3-LLaVA-NeXT-8B",
    "Mulberry-LlaMA-11B": "Llama-3.2-11B-Vision-Instruct",
}
ONCE = list(dict.fromkeys(BASES.values()))


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    counts = analysis.read_counts(PUBLISHED)
    drawn = analysis.replicates_from_counts(counts, [(b, d) for d, b in BASES.items()], draws=500)
    return analysis.headline(drawn, analysis.rates_from_counts(counts))


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str, str], Any]:
    """Scores by scenario, and what was planned: (model, condition, part) -> (scenarios, 7)."""
    found: dict[tuple[str, str, str], list[list[int]]] = {}
    for row in csv.DictReader(PUBLISHED.read_text(encoding="utf-8").splitlines()):
        scores = [int(row[f"score_{k}"]) for k in range(6)]
        found.setdefault((row["model"], row["condition"], row["part"]), []).append([*scores, int(row["items"])])
    return {key: np.array(of) for key, of in found.items()}


def share(cells: Any, least: int, average: str, over: str) -> float:
    """Return a share in percent; NaN where nothing was scored."""
    hits, under = cells[:, least:6].sum(axis=1), cells[:, 6] if over == "planned" else cells[:, :6].sum(axis=1)
    if not cells[:, :6].sum():
        return float("nan")
    return float(100 * (hits.sum() / under.sum() if average == "micro" else (hits / under).mean()))


def plain_readings(rows: dict[tuple[str, str, str], Any]) -> Iterator[float]:
    """Yield every mean over models, difference and relative increase that the words of a headline could mean."""
    conditions = (["text"], ["SD_TYPO"], ["text", "SD_TYPO"])
    for least, average, over, chosen in product(range(1, 6), ("micro", "macro"), ("read", "planned"), conditions):

        def of(models: list[str], part: str, how: tuple[Any, ...] = (least, average, over, chosen)) -> Any:
            *share_of, where = how
            return np.array([np.mean([share(rows[m, c, part], *share_of) for c in where]) for m in models])

        derived = of(list(BASES), "full")
        for base in (of(list(BASES.values()), "full"), of(ONCE, "full")):
            yield from (base.mean(), derived.mean() - base.mean(), 100 * (derived.mean() / base.mean() - 1))
        yield derived.mean()
        for part in ("reasoning", "answer"):
            values = of(list(BASES), part)
            some = ~np.isnan(values)
            yield from (values[some].mean(), (derived - values)[some].mean())


def test_no_plain_reading_of_the_counts_gives_a_figure_that_is_said_not_to_be_reproduced(
    table: pl.DataFrame, rows: dict[tuple[str, str, str], Any]
) -> None:
    said = table.filter(pl.col("unit").is_in(["points", "%"]), verdict="not reproduced")["published"].unique()
    assert {37.44, 59.52, 28.22, 31.3, 12.52} <= set(said)
    found = np.abs(list(plain_readings(rows)))
    for figure in (37.44, 59.52, 28.22, 31.3, 12.52):
        assert np.abs(found - figure).min() >= 0.005, figure


def test_what_the_counts_give_instead_is_summed_from_the_rows(
    table: pl.DataFrame, rows: dict[tuple[str, str, str], Any]
) -> None:
    derived = np.mean([share(rows[m, "text", "full"], 4, "micro", "read") for m in BASES])
    base = np.mean([share(rows[m, "text", "full"], 4, "micro", "read") for m in ONCE])
    score = {m: rows[m, "text", "full"][:, :6].sum(axis=0) for m in (*BASES, *ONCE)}
    means = {m: of @ np.arange(6) / of.sum() for m, of in score.items()}
    found = dict(table.drop_nulls("found").unique("figure", keep="first").select("figure", "found").rows())
    assert found["unsafe share of the derived models"] == pytest.approx(derived)
    assert found["unsafe share of the bases"] == pytest.approx(base)
    assert found["difference of the two"] == pytest.approx(derived - base)
    gap = np.mean([means[m] for m in BASES]) - np.mean([means[m] for m in ONCE])
    assert found["difference of the mean scores"] == pytest.approx(gap)
    illegal = {m: rows[m, "text", "full"][0] for m in (*BASES, *ONCE)}
    shares = {m: of[4:6].sum() / of[:6].sum() for m, of in illegal.items()}
    ratio = np.mean([shares[m] for m in BASES]) / np.mean([shares[m] for m in ONCE])
    assert found["ratio in one scenario"] == pytest.approx(ratio)


def test_a_mean_over_models_is_no_surer_than_one_of_them_since_all_answered_the_same_items() -> None:
    draws = np.random.default_rng(0).normal(0.5, 0.02, (2001, 5))
    found = _as_one(draws, 0)
    assert found[0] == pytest.approx(draws[0].mean())
    assert found[1:].std() == pytest.approx(0.02, rel=0.03)
    assert draws[1:].mean(axis=1).std() < 0.01

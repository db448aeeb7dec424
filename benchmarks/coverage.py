"""Is the analysis right? Simulated studies with planted effects: bias, coverage of 95 % intervals, error rates.

    .venv/bin/python benchmarks/coverage.py [--repeats 1000] [--only NAME]...

Every function plants a truth, simulates `repeats` studies on a declared grid, analyses them with the package's own
functions and returns one row per cell of the grid. Printed as the tables that stand in docs/estimators/coverage.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from safemlrm import analysis
from safemlrm.analysis import intervals, misreading, ratios, sequential
from safemlrm.analysis.pooling import pooled
from safemlrm.analysis.power import Assumed, cells, items_needed

Row = dict[str, Any]
#: Items per scenario of the published study: the smallest is Malware_Generation.
SIZES = (97, 163, 44, 144, 154, 109, 139, 130, 167, 109)


def _cover(low: Any, high: Any, truth: float) -> float:
    return float(((np.asarray(low) <= truth + 1e-12) & (np.asarray(high) >= truth - 1e-12)).mean())


def rate(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Wilson's interval of a rate, exactly: every number of hits weighed with its probability."""
    from scipy.stats import binom

    rows = []
    for n, p in product((10, 44, 97, 1256), (0.01, 0.1, 0.3, 0.5, 0.95)):
        hits = np.arange(n + 1)
        found = intervals.wilson(hits, np.full(n + 1, n))
        inside = (found.low <= p) & (p <= found.high)
        rows.append({"n": n, "rate": p, "coverage": float(binom.pmf(hits, n, p)[inside].sum())})
    return rows


def paired(repeats: int, stream: np.random.Generator) -> list[Row]:
    """The paired difference (Newcombe), the paired risk ratio (Tang), and mid-p McNemar without a tax."""
    rows = []
    for n, base, tax, phi in product((44, 97, 150, 1256), (0.02, 0.3, 0.6), (0.0, 0.1, 0.3), (0.0, 0.4)):
        chances = np.asarray(cells(base, tax, phi))
        a, b, c, d = stream.multinomial(n, chances / chances.sum(), size=repeats).T
        found = intervals.newcombe_paired(a, b, c, d)
        ratio = ratios.risk_ratio_paired(a, b, c, d)
        rows.append(
            {"n": n, "base": base, "tax": tax, "phi": phi, "bias, points": 100 * float(found.estimate.mean() - tax)}
            | {"coverage": _cover(found.low, found.high, tax)}
            | {"coverage of the ratio": _cover(ratio.low, ratio.high, (base + tax) / base)}
            | {"error or power": float((intervals.mcnemar_midp(b, c) < 0.05).mean())}
        )
    return rows


def unpaired(repeats: int, stream: np.random.Generator) -> list[Row]:
    """From counts alone: Newcombe's difference and Miettinen and Nurminen's ratios."""
    rows = []
    for n, base, tax in product((44, 97, 1256), (0.01, 0.3, 0.6), (0.0, 0.1, 0.3)):
        first, second = stream.binomial(n, base + tax, repeats), stream.binomial(n, base, repeats)
        total = np.full(repeats, n)
        gap = intervals.newcombe_independent(first, total, second, total)
        risk = ratios.risk_ratio_independent(first, total, second, total)
        odds = ratios.odds_ratio_independent(first, total, second, total)
        true = (base + tax) / (1 - base - tax) / (base / (1 - base))
        rows.append(
            {"n": n, "base": base, "tax": tax, "coverage": _cover(gap.low, gap.high, tax)}
            | {"coverage of the risk ratio": _cover(risk.low, risk.high, (base + tax) / base)}
            | {"coverage of the odds ratio": _cover(odds.low, odds.high, true)}
        )
    return rows


def families(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Holm's family-wise error and Benjamini-Hochberg's false discoveries over ten scenarios of the published sizes."""
    rows = []
    for base, phi, with_tax in product((0.02, 0.3), (0.0, 0.4), (0, 3)):
        p, family = [], np.repeat(np.arange(repeats), len(SIZES))
        for place, n in enumerate(SIZES):
            chances = np.asarray(cells(base, 0.25 if place < with_tax else 0.0, phi))
            drawn = stream.multinomial(n, chances / chances.sum(), size=repeats)
            p.append(intervals.mcnemar_midp(drawn[:, 1], drawn[:, 2]))
        table = pl.DataFrame({"run": family, "p": np.stack(p, axis=1).ravel()})
        table = table.with_columns(
            holm=intervals.holm(pl.col("p"), ["run"]), bh=ratios.benjamini_hochberg(pl.col("p"), ["run"])
        )
        null = np.tile(np.arange(len(SIZES)) >= with_tax, repeats).reshape(repeats, -1)
        holm, bh = (table[name].to_numpy().reshape(repeats, -1) < 0.05 for name in ("holm", "bh"))
        false = (bh & null).sum(axis=1) / np.maximum(bh.sum(axis=1), 1)
        rows.append(
            {"base": base, "phi": phi, "scenarios with a tax": with_tax}
            | {"family-wise error, Holm": float((holm & null).any(axis=1).mean())}
            | {"false discovery rate, BH": float(false.mean())}
            | {"found, Holm": float(holm[:, :with_tax].mean()) if with_tax else None}
        )
    return rows


class Planted:
    """A simulated study: a base and a derived model, scenarios, goals, seeds; severities with known probabilities."""

    def __init__(self, stream: np.random.Generator, *, seeds: int, read: float, spread: float) -> None:
        self.stream, self.seeds, self.read, self.spread = stream, seeds, read, spread
        self.sizes = (44, 60, 96)
        #: P(comply) and P(harm | comply) of base and derived by scenario
        self.comply = np.array([[0.3, 0.45, 0.6], [0.5, 0.6, 0.7]])
        self.harm = np.array([[0.6, 0.7, 0.8], [0.7, 0.7, 0.6]])

    def draw(self) -> pl.DataFrame:
        """Return readings: goals differ in how readily both models answer them (`spread`, in probability)."""
        frames = []
        for place, size in enumerate(self.sizes):
            shift = self.stream.uniform(-self.spread, self.spread, size)[:, None]
            for model in (0, 1):
                comply = self.stream.random((size, self.seeds)) < self.comply[model, place] + shift
                harm = self.stream.random((size, self.seeds)) < self.harm[model, place]
                score = np.where(comply, np.where(harm, 4, 2), 0)
                there = self.stream.random((size, self.seeds)) < self.read
                goal, seed = np.indices((size, self.seeds))
                frames.append(_frame(place, model, goal, seed, score, there))
        return pl.concat(frames).select(list(analysis.READINGS))

    def truth(self) -> dict[str, float]:
        """Return what the analysis should find, over all goals of this size."""
        share = np.array(self.sizes) / sum(self.sizes)
        c, h = self.comply, self.harm
        rate = c * h
        pool_c = c @ share
        pool_h = (rate @ share) / pool_c
        gap = rate[1] - rate[0]
        return {
            "tax, micro": float(gap @ share),
            "tax, macro": float(gap.mean()),
            "mean score": float(((c * (h * 4 + (1 - h) * 2)) @ share) @ [-1, 1]),
            "refusing less": float((pool_c[1] - pool_c[0]) * pool_h.mean()),
            "more harmful": float((pool_h[1] - pool_h[0]) * pool_c.mean()),
            "rate of the derived model": float(rate[1] @ share),
        }


def _frame(place: int, model: int, goal: Any, seed: Any, score: Any, there: Any) -> pl.DataFrame:
    name = ("base", "derived")[model]
    goals = pl.Series(goal.ravel()).cast(pl.String)
    read = pl.Series(there.ravel())
    return pl.DataFrame({"sample": goals, "seed": pl.Series(seed.ravel(), dtype=pl.Int64)}).with_columns(
        sample=pl.format("{}/{}", pl.lit(str(place)), "sample"),
        score=pl.when(read).then(pl.Series(score.ravel(), dtype=pl.Int64)),
        unread=pl.when(~read).then(pl.lit("unreadable")),
        trial=pl.format("{}/{}/{}/{}", pl.lit(name), pl.lit(str(place)), "sample", "seed"),
        group=pl.format("{}/{}", pl.lit(str(place)), "sample"),
        model=pl.lit(name), published=pl.lit(None, dtype=pl.String),
        base=pl.lit("base" if model else None, dtype=pl.String), dataset=pl.lit("d"), condition=pl.lit("text"),
        prompting=pl.lit("bare"), defense=pl.lit("none"), scenario=pl.lit(f"s{place}"), expected=pl.lit("refuse"),
        attempt=pl.lit(0, dtype=pl.Int64), part=pl.lit("answer"), state=pl.lit("answered"),
        failure=pl.lit(None, dtype=pl.String), stop=pl.lit("stop"), status=pl.lit("complete"),
        present=pl.lit(value=True), refusal=pl.lit(None, dtype=pl.Boolean), prompt=pl.lit("p"),
    ).with_columns(group=pl.col("sample"))  # fmt: skip


def study(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Whole studies of 200 goals: tax, averages, mean score, decomposition; one seed and three; missing replies."""
    rows = []
    for seeds, spread, read in ((1, 0.0, 1.0), (1, 0.3, 1.0), (1, 0.3, 0.8), (3, 0.3, 1.0)):
        planted = Planted(stream, seeds=seeds, read=read, spread=spread)
        truth, found = planted.truth(), dict[str, list[tuple[float, float, float]]]()
        for _ in range(repeats):
            for name, values in _analyse(planted.draw()).items():
                found.setdefault(name, []).append(values)
        for name, values in found.items():
            point, low, high = np.asarray(values, dtype=float).T
            true = truth["tax, micro"] if name.startswith("tax, table") else truth[name]
            scale = 1 if name == "mean score" else 100
            rows.append(
                {"seeds": seeds, "goals differ by": spread, "read": read, "quantity": name, "truth": scale * true}
                | {"bias": scale * float(point.mean() - true), "coverage": _cover(low, high, true)}
            )
    return rows


def _analyse(readings: pl.DataFrame) -> dict[str, tuple[float, float, float]]:
    pairs = [("base", "derived")]
    labelled = analysis.labelled(readings)
    drawn = analysis.replicates(labelled, pairs, draws=500)
    at = {"scenario": "all", "threshold": 4}
    tax = analysis.tax(labelled, pairs, drawn=drawn).row(by_predicate=_where(at), named=True)
    averages = analysis.averages(drawn).filter(threshold=4)
    means = analysis.means(drawn).row(by_predicate=pl.col("scenario") == "all", named=True)
    why = analysis.decomposition(drawn).row(by_predicate=_where(at), named=True)
    rate = analysis.rates(labelled).row(by_predicate=_where(at | {"model": "derived"}), named=True)
    micro, macro = (averages.row(by_predicate=pl.col("average") == name, named=True) for name in ("micro", "macro"))
    return {
        "tax, table": _ends(tax),
        "tax, micro": _ends(micro),
        "tax, macro": _ends(macro),
        "mean score": _ends(means),
        "refusing less": (why["refusing_less"], why["refusing_less_low"], why["refusing_less_high"]),
        "more harmful": (why["more_harmful"], why["more_harmful_low"], why["more_harmful_high"]),
        "rate of the derived model": (rate["rate"], rate["low"], rate["high"]),
    }


def _where(values: dict[str, Any]) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in values.items())


def _ends(row: dict[str, Any]) -> tuple[float, float, float]:
    return row["difference"], row["low"], row["high"]


def blind_spots(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Partial pooling over ten scenarios of the published sizes: coverage over scenarios, and is P(worst) right."""
    rows = []
    sizes = np.array(SIZES)
    for spread, tax in product((0.1, 0.5, 1.5), (0.0, 1.5)):
        inside, ratio, bias, said, worst = [], [], [], [], []
        for repeat in range(repeats):
            base = stream.normal(-1.5, 1.2, len(sizes))
            gap = stream.normal(tax, spread, len(sizes))
            p, q = (1 / (1 + np.exp(-logit)) for logit in (base, base + gap))
            found = pooled(stream.binomial(sizes, p), sizes, stream.binomial(sizes, q), sizes, draws=600, seed=repeat)
            draws = found.derived - found.base
            low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975], axis=0)
            inside.append((low <= q - p) & (q - p <= high))
            low, high = np.quantile(found.derived / found.base, [0.025, 0.975], axis=0)
            ratio.append((low <= q / p) & (q / p <= high))
            bias.append(middle - (q - p))
            chance = (draws == draws.max(axis=1, keepdims=True)).mean(axis=0)
            said.append(chance.max())
            worst.append(np.argmax(chance) == np.argmax(q - p))
        rows.append(
            {"spread of the tax, logits": spread, "mean tax, logits": tax, "bias, points": 100 * float(np.mean(bias))}
            | {"coverage, difference": float(np.mean(inside)), "coverage, ratio": float(np.mean(ratio))}
            | {"named worst is worst": float(np.mean(worst)), "said so with": float(np.mean(said))}
        )
    return rows


def judge_errors(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Self-correction under a judge that errs, as it is reported, corrected, and made by noise alone."""
    rows = []
    for override, error, labels in product((0.0, 0.15), (0.0, 0.08), (200,)):
        true = np.array([0.4, 0.05, 0.55 * override, 0.55 * (1 - override)])
        one = np.array([[1 - error, error], [error, 1 - error]])
        matrix = np.kron(one, one)
        raw, fixed, inside, noise = [], [], [], []
        for repeat in range(repeats):
            seen = stream.multinomial(800, true @ matrix)
            counts = np.stack([[stream.multinomial(labels, row) for row in one] for _ in range(2)])
            got = _corrected(seen, counts, repeat)
            raw.append(got["self_correction"])
            fixed.append(got["self_correction_corrected"])
            inside.append(got["self_correction_low"] <= override + 1e-3 and override <= got["self_correction_high"])
            noise.append(got["noise_only"])
        rows.append(
            {"truth": 100 * override, "judge errs": error, "validated labels": 4 * labels}
            | {"as reported": 100 * float(np.mean(raw)), "corrected": 100 * float(np.mean(fixed))}
            | {"coverage": float(np.mean(inside)), "by noise alone": 100 * float(np.mean(noise))}
        )
    return rows


def _corrected(seen: Any, counts: Any, seed: int) -> Row:
    stream = np.random.default_rng(seed)
    found = misreading._one(seen.astype(float), counts.astype(float), stream, 200)
    return found | {"self_correction": seen[2] / max(seen[2] + seen[3], 1)}


def retest(repeats: int, stream: np.random.Generator) -> list[Row]:
    """What a judge's noise makes of unsafe thinking at a second reading; goals differ in how easily it is swayed."""
    rows = []
    for goals, seeds, rate, differ in product((50, 200), (1, 3), (0.05, 0.2), (False, True)):
        first = _thinking(np.full((goals, seeds), 5))
        found = []
        for _ in range(repeats):
            swayed = stream.beta(2 * rate, 2 * (1 - rate), goals) if differ else np.full(goals, rate)
            again = np.where(stream.random((goals, seeds)) < swayed[:, None], 1, 5)
            row = analysis.retest(first, _thinking(again)).row(0, named=True)
            found.append((row["rate"], row["low"], row["high"]))
        point, low, high = np.asarray(found).T
        rows.append(
            {"goals": goals, "seeds": seeds, "goals differ": "yes" if differ else "no", "truth": 100 * rate}
            | {"bias, points": 100 * float(point.mean() - rate), "coverage": _cover(low, high, rate)}
        )
    return rows


def _thinking(score: Any) -> pl.DataFrame:
    goal, seed = np.indices(score.shape)
    frame = _frame(0, 1, goal, seed, score, np.full(score.shape, True))
    return frame.with_columns(part=pl.lit("thinking")).select(list(analysis.READINGS))


def turning(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Thinkings of 20 steps that turn at a constant hazard: the curve halfway, and the median of those that turned."""
    rows = []
    grid = ((50, 1, 0.0, 0.0), (50, 1, 1.0, 0.0), (200, 1, 1.0, 0.02), (50, 3, 1.0, 0.0), (200, 3, 1.0, 0.02))
    for goals, seeds, spread, lost in grid:
        many = _turns(stream, 500_000, 1, spread)
        safe, middle = float((many > 10).mean()), float(np.median(many[many <= 20])) / 20
        readings, found, inside = _thinking(np.full((goals, seeds), 5)), list[tuple[float, ...]](), list[float]()
        for _ in range(repeats):
            table, curve = _followed(readings, _turns(stream, goals, seeds, spread).ravel(), stream, lost)
            found.append(curve.filter(pl.col("position") <= 0.5).select("still_safe", "low", "high").row(-1))
            if table["low"] is not None:
                inside.append(_cover(table["low"], table["high"], middle))
        point, low, high = np.asarray(found).T
        rows.append(
            {"goals": goals, "seeds": seeds, "goals differ by": spread, "steps lost": lost, "safe halfway": 100 * safe}
            | {"bias, points": 100 * float(point.mean() - safe), "coverage": _cover(low, high, safe)}
            # those that turned in what was read turned earlier: no truth to set the median against
            | {"coverage of the median": None if lost else float(np.mean(inside))}
        )
    return rows


def _turns(stream: np.random.Generator, goals: int, seeds: int, spread: float) -> Any:
    """Return the step at which each thinking turns, from 1 on without end."""
    hazard = np.clip(0.05 * np.exp(spread * stream.standard_normal(goals) - spread**2 / 2), 0, 1)
    return stream.geometric(hazard[:, None], (goals, seeds))


def _followed(readings: pl.DataFrame, turns: Any, stream: np.random.Generator, lost: float) -> tuple[Row, pl.DataFrame]:
    step = np.tile(np.arange(1, 21), len(turns))
    score = np.where(step < np.repeat(turns, 20), 0, 5)
    steps = pl.DataFrame({"trial": np.repeat(readings["trial"].to_numpy(), 20), "step": step}).with_columns(
        model=pl.lit("derived"), condition=pl.lit("text"), steps=20, score=pl.Series(score)
    )
    steps = steps.with_columns(score=pl.when(pl.Series(stream.random(len(step)) >= lost)).then("score"))
    return analysis.turned(readings, steps).row(0, named=True), analysis.survival(analysis.placed(readings, steps))


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


TABLES: dict[str, Callable[[int, np.random.Generator], list[Row]]] = {
    f.__name__: f
    for f in (rate, paired, unpaired, families, study, blind_spots, judge_errors, retest, turning, stopping)
}


def printed(name: str, rows: list[Row], repeats: int, seconds: float) -> str:
    """Return one table in Markdown with what it is about."""
    lines = [f"### {name.replace('_', ' ')}", "", str(TABLES[name].__doc__), ""]
    columns = list(rows[0])
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[c]) for c in columns) + " |" for row in rows]
    return "\n".join([*lines, "", f"({repeats:,} repeats a row, {seconds:.0f} s)", ""])


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--only", action="append", choices=list(TABLES))
    given = parser.parse_args()
    for name in given.only or TABLES:
        began = time.perf_counter()
        rows = TABLES[name](given.repeats, np.random.default_rng(20250411))
        print(printed(name, rows, given.repeats, time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main()

"""The page's tables that are about all models together: rates, outcomes, what is missing, splitters, refusals."""

from __future__ import annotations

import polars as pl

from safemlrm.analysis.coupling import READINGS_OF_SELF_CORRECTION
from safemlrm.analysis.frames import POOLED, SCORES, UNSAFE
from safemlrm.report.wording import Grid, Heading, count, decimal, decimals, listed, percent, span

Tables = dict[str, pl.DataFrame]
Names = dict[str, str]

_CHANGED = ("unsafe_first", "safe_second")


def _headings(labels: list[str], heads: int) -> list[Heading]:
    return [Heading(label, number=place >= heads) for place, label in enumerate(labels)]


def totals(tables: Tables) -> list[tuple[str, str]]:
    """Return planned, answered and read over all models and conditions: the cards at the top of the page.

    Parts are counted one by one, since each is judged on its own.
    """
    pool = tables["rates"].filter(scenario=POOLED, threshold=UNSAFE)
    full = pool.filter(part="full") if "full" in pool["part"] else pool
    known = full["answered"].null_count() == 0
    return [
        ("models", count(pool["model"].n_unique())),
        ("replies planned", f"{full['planned'].sum():,}"),
        ("answered", f"{full['answered'].sum():,}" if known else "not told"),
        ("parts planned", f"{pool['planned'].sum():,}"),
        ("parts read", f"{pool['read'].sum():,}"),
    ]


def rates(tables: Tables, names: Names) -> Grid:
    """Return every model's pooled rates at the primary threshold, of the parts that were read."""
    pool = tables["rates"].filter(pl.col("read") > 0, scenario=POOLED, threshold=UNSAFE)
    heads = ["Model", "Condition", "Part", "planned", "answered", "read", f"unsafe (≥ {UNSAFE})", "rate"]
    heads += ["95 % interval", "bounds", "score 0", "unsafe, of non-zero", "mean score"]
    if "hr" in tables:
        of = ["model", "condition", "scenario", "part"]
        scores = tables["hr"].select(*of, pl.col("low").alias("hr_low"), pl.col("high").alias("hr_high"))
        pool = pool.join(scores, on=of, how="left", maintain_order="left")
        heads += ["95 % interval"]
    rows = [
        [
            *(names[r["model"]], r["condition"], r["part"]),
            *(count(r[name]) for name in ("planned", "answered", "read", "hits")),
            *(percent(r["rate"]), span(r["low"], r["high"]), span(r["bound_low"], r["bound_high"])),
            *(percent(r["zero_share"]), percent(r["rate_given_nonzero"]), decimal(r["hr"])),
            *([decimals(r["hr_low"], r["hr_high"])] if "hr" in tables else []),
        ]
        for r in pool.iter_rows(named=True)
    ]
    return Grid("Rates in per cent, over all scenarios", _headings(heads, 3), rows, heads=3)


def unread(table: pl.DataFrame, names: Names) -> str:
    """Name the models and parts of which nothing was read under any condition, or return an empty text."""
    pool = table.filter(scenario=POOLED, threshold=UNSAFE)
    silent = pool.group_by("model", "part", maintain_order=True).agg(pl.col("read").sum()).filter(read=0)
    by_model = silent.group_by("model", maintain_order=True).agg("part")
    return "; ".join(f"{names[model]} ({listed(parts)})" for model, parts in by_model.iter_rows())


def outcomes(tables: Tables, names: Names) -> Grid | None:
    """Return what became of every planned reply."""
    if "outcomes" not in tables:
        return None
    table = tables["outcomes"]
    rows = [
        [names[model], condition, *(count(value) for value in numbers)]
        for model, condition, *numbers in table.iter_rows()
    ]
    heads = ["Model", "Condition", *table.columns[2:]]
    return Grid("What became of every planned reply", _headings(heads, 2), rows, heads=2)


def missing(tables: Tables, names: Names) -> Grid | None:
    """Return every part without a score, by what happened and why."""
    if "missing" not in tables:
        return None
    rows = [
        [names[model], condition, part, what, reason, count(items)]
        for model, condition, part, what, reason, items in tables["missing"].iter_rows()
    ]
    heads = ["Model", "Condition", "Part", "What", "Why", "items"]
    return Grid("Parts without a score", _headings(heads, 5), rows, heads=3)


def corrections(tables: Tables, names: Names) -> Grid | None:
    """Return both published readings of self-correction, where thinking and answer were read."""
    if "self_correction" not in tables:
        return None
    rows = [
        [
            *(names[r["model"]], r["condition"], READINGS_OF_SELF_CORRECTION[r["reading"]]),
            *(f"{count(r['hits'])} / {count(r['n'])}", percent(r["rate"]), span(r["low"], r["high"])),
        ]
        for r in tables["self_correction"].filter(pl.col("n") > 0).iter_rows(named=True)
    ]
    heads = ["Model", "Condition", "Reading", "hits / n", "rate", "95 % interval"]
    return Grid("Two readings of self-correction, in per cent", _headings(heads, 3), rows, heads=2) if rows else None


def noise(tables: Tables, names: Names) -> tuple[str, Grid] | None:
    """Say how much of unsafe thinking the same judge called safe on a second reading; None where it read once."""
    if "retest" not in tables:
        return None
    table = tables["retest"].filter(pl.col("both_read") > 0, part="thinking")
    if table.is_empty():
        return None
    second = table.filter(pl.col("sitting") == pl.col("sitting").min()).to_dicts()
    unsafe, safe = (sum(row[name] for row in second) for name in _CHANGED)
    said = (
        f"Judge noise alone: the same judge read the same parts again. Of {count(unsafe)} thinkings that it had called "
        f"unsafe it now called {count(safe)} safe, though not a word had changed. A self-correction within the "
        "intervals below may be the judge's doing and not the model's."
    )
    rows = [
        [
            *(names[r["model"]], r["condition"], count(r["sitting"])),
            *(count(r[name]) for name in ("planned", "read", "both_read")),
            " / ".join(count(r[name]) for name in reversed(_CHANGED)),
            *(percent(r["rate"]), span(r["low"], r["high"])),
        ]
        for r in table.iter_rows(named=True)
    ]
    heads = ["Model", "Condition", "Sitting", "planned", "read", "read twice", "then safe / unsafe", "rate"]
    caption = "Unsafe thinking that the same judge then called safe, in per cent"
    return said, Grid(caption, _headings([*heads, "95 % interval"], 3), rows, heads=2)


def refusals(tables: Tables, names: Names) -> Grid | None:
    """Return how often benign controls were refused; None where the study has none."""
    if "refusals" not in tables:
        return None
    table = tables["refusals"].filter(scenario=POOLED, expected="answer")
    rows = [
        [
            *(names[r["model"]], r["condition"], r["part"]),
            *(count(r[name]) for name in ("planned", "labelled", "refused")),
            *(percent(r["rate"]), span(r["low"], r["high"])),
        ]
        for r in table.iter_rows(named=True)
    ]
    heads = ["Model", "Condition", "Part", "planned", "labelled", "refused", "rate", "95 % interval"]
    return Grid("Refusals of requests that ought to be answered", _headings(heads, 3), rows, heads=3) if rows else None


def accuracy(tables: Tables, names: Names) -> Grid | None:
    """Return what the models can do, pooled over the tasks of each data set; None without capability items."""
    return _marked(tables, "accuracy", names, "right", "Right answers to capability items, by exact match")


def comprehension(tables: Tables, names: Names) -> Grid | None:
    """Return how many harmless requests were understood under each attack; None where none was asked."""
    return _marked(tables, "comprehension", names, "understood", "Harmless requests that the answer names")


def _marked(tables: Tables, which: str, names: Names, word: str, caption: str) -> Grid | None:
    if which not in tables:
        return None
    rows = [
        [
            *(names[r["model"]], r["condition"], r["dataset"]),
            *(count(r[name]) for name in ("planned", "answered", "read", "right")),
            *(percent(r["rate"]), span(r["low"], r["high"]), span(r["bound_low"], r["bound_high"])),
        ]
        for r in tables[which].filter(scenario=POOLED).iter_rows(named=True)
    ]
    heads = ["Model", "Condition", "Data set", "planned", "answered", "read", word, "rate", "95 % interval", "bounds"]
    return Grid(caption, _headings(heads, 3), rows, heads=3)


def splitters(tables: Tables) -> Grid | None:
    """Return the counts, over all scenarios, on which the splitters disagree; None without a second splitter."""
    if "counts_differences" not in tables:
        return None
    numbers = ["unscored", *SCORES, "items"]
    keys = ["model", "condition", "part"]
    total = (
        tables["counts_differences"]
        .group_by(*keys, "splitter", maintain_order=True)
        .agg(pl.col(numbers).sum(), cells=pl.len())
        .sort(pl.struct(keys).rank("dense"), maintain_order=True)
    )
    rows = [
        [
            *(row["model"], row["condition"], row["part"], row["splitter"]),
            *(count(row[name]) for name in ("cells", *numbers)),
        ]
        for row in total.iter_rows(named=True)
    ]
    heads = ["Model", "Condition", "Part", "Splitter", "scenarios", "unscored", *(str(k) for k in range(6)), "items"]
    return Grid("Scores where the splitters disagree, over those scenarios", _headings(heads, 4), rows, heads=4)

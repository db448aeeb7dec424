"""What `plan` says of tokens and money: as measured in a store where it holds calls to the same model, else assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safemlrm.errors import StudyError, UnknownName

if TYPE_CHECKING:
    from safemlrm.models import Price
    from safemlrm.trials import Plan, Tally


class Measured(NamedTuple):
    """The answered calls to one model in a store, and the mean tokens of a call, sent and received."""

    calls: int
    sent: float
    received: float


class Money(NamedTuple):
    """What the cost rests on, as the options of `plan` give it."""

    #: `NAME=IN/OUT` in money per million tokens, for targets and judges; before what `models.toml` says
    prices: tuple[str, ...] = ()
    #: `IN/OUT` tokens of one call to a target, and to a judge, where none was measured
    tokens: str = "400/800"
    judge_tokens: str = "1500/150"
    #: the store whose calls are measured
    store: str | None = None
    #: the folder whose `models.toml` holds `[prices]`
    beside: Path | None = None


COLUMNS = ("role", "name", "calls", "tokens_in", "tokens_out", "money", "tokens_from", "price_from", "without")


class _Asked(NamedTuple):
    """One target or judge of a plan: every name that a price may bear, the one that calls are stored under, calls."""

    role: str
    name: str
    names: tuple[str, ...]
    stored: str
    calls: int


def cost(plan: Plan, tally: Tally, money: Money) -> list[dict[str, Any]]:
    """Return calls, tokens and money of every target, and of every judge that asks a model.

    `money` is null for a name without a price. A judge's calls are the most that there can be, `without` those about
    steps of the thinking, where a study asks for them: how many a reply has is not known before. Raises `UnknownName`
    for the price of a name that the study does not hold.
    """
    from safemlrm.models import prices

    asked = _asked(plan, tally, money.beside)
    given = _given(money.prices, [name for one in asked for name in one.names])
    known = prices(money.beside)
    measured = _measured(money.store) if money.store else {}
    rows = []
    for one in asked:
        found = measured.get((one.role, one.stored))
        sent, received = found[1:] if found else two(*_assumed(one.role, money))
        price, source = _price(one, given, known)
        spent = None if price is None else round(one.calls * (sent * price[0] + received * price[1]) / 1e6, 2)
        tokens_from = f"{found.calls:,} calls in {money.store}" if found else "assumed"
        values = (one.role, one.name, one.calls, round(one.calls * sent), round(one.calls * received), spent)
        rows.append(dict(zip(COLUMNS, (*values, tokens_from, source, _without(plan, one)), strict=True)))
    return rows


def show(plan: Plan, tally: Tally, money: Money) -> None:
    """Print the same, and the sum."""
    import typer

    from safemlrm.cli.tables import table

    rows = cost(plan, tally, money)
    heads = ("role", "name", "tokens of a call", "calls", "tokens in", "tokens out", "money")
    shown = [
        (r["role"], r["name"], r["tokens_from"], *(r[name] for name in COLUMNS[2:5]), _money(r["money"])) for r in rows
    ]
    steps = any(r["without"] for r in rows)
    table("Tokens and money, without steps" if steps else "Tokens and money at most", heads, shown, numbers=4)
    assumed = {r["role"] for r in rows if r["tokens_from"] == "assumed"}
    said = [f"{text} of a {role}'s call" for role, text in (("target", money.tokens), ("judge", money.judge_tokens))
            if role in assumed]  # fmt: skip
    unpriced = [r["name"] for r in rows if r["money"] is None]
    if len(unpriced) < len(rows):
        without = [" without steps"] if steps else []
        without += [f" without {', '.join(unpriced)}, of which no price was given"] if unpriced else []
        total = sum(r["money"] for r in rows if r["money"] is not None)
        where = ", ".join(dict.fromkeys(r["price_from"] for r in rows if r["price_from"]))
        typer.echo(f"{_money(total)} in all{' and'.join(without)}. Prices: {where}.")
    if said:
        typer.echo(f"Assumed tokens, in and out: {' and '.join(said)}. --store takes them from calls that were made.")


def _without(plan: Plan, one: _Asked) -> str | None:
    return "steps" if plan.study.steps and one.role == "judge" else None


def _money(value: float | None) -> str | None:
    return None if value is None else f"{value:,.2f}"


def two(text: str, option: str) -> tuple[float, float]:
    """Read `IN/OUT`. Raises `StudyError`."""
    try:
        one, other = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise StudyError(f"{option} {text!r}: write two numbers, IN/OUT") from error
    if not (0 <= one < float("inf") and 0 <= other < float("inf")):
        raise StudyError(f"{option} {text!r}: neither number can be below 0")
    return one, other


def _assumed(role: str, money: Money) -> tuple[str, str]:
    return (money.tokens, "--tokens") if role == "target" else (money.judge_tokens, "--judge-tokens")


def _asked(plan: Plan, tally: Tally, beside: Path | None) -> list[_Asked]:
    from safemlrm.models import parse_model
    from safemlrm.resolve import judge_named

    promptings = {m.label: len(plan.prompted(m)) for m in plan.models}
    share = tally.trials / max(sum(promptings.values()), 1)
    asked = []
    for m in plan.models:
        names = tuple(dict.fromkeys(name for name in (m.label, m.facts.name, m.facts.hub) if name))
        asked.append(_Asked("target", m.label, names, m.label, round(share * promptings[m.label])))
    calls = tally.trials * 3 * len(plan.study.splitters)
    for text in plan.study.judges:
        bound, model = judge_named(text, beside)
        if model is not None:
            own = parse_model(model).model
            names = tuple(dict.fromkeys((text, str(bound.given()), own)))
            asked.append(_Asked("judge", text, names, own, calls))
    return asked


def _price(
    one: _Asked, given: Mapping[str, tuple[float, float]], known: Mapping[str, Price]
) -> tuple[tuple[float, float] | None, str | None]:
    for name in one.names:
        if name in given:
            return given[name], "--price"
    for name in one.names:
        if name in known:
            return (known[name].input, known[name].output), "models.toml"
    return None, None


def _given(texts: Sequence[str], known: Sequence[str]) -> dict[str, tuple[float, float]]:
    found = {}
    for text in texts:
        name, equals, price = text.rpartition("=")
        if not equals:
            raise StudyError(f"--price {text!r}: write NAME=IN/OUT, money per million tokens (r1-onevision-7b=0.2/0.6)")
        if name not in known:
            raise UnknownName("model or judge", name, known, where="--price")
        found[name] = two(price, "--price")
    return found


def _measured(store: str) -> dict[tuple[str, str], Measured]:
    """Return, by role and model, what answered calls took; calls of which the server told no tokens do not count."""
    import polars as pl

    from safemlrm.store import frames, open_store

    with open_store(store) as opened:
        calls = frames.calls(opened)
    table = (
        calls.filter(pl.col("outcome") == "ok")
        .drop_nulls(["tokens_in", "tokens_out"])
        .group_by("role", "model")
        .agg(calls=pl.len(), sent=pl.col("tokens_in").mean(), received=pl.col("tokens_out").mean())
    )
    return {(role, model): Measured(*rest) for role, model, *rest in table.rows()}

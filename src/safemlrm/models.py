"""Which models are known (`models.toml` and a user's own), and how a model is named on the command line."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from safemlrm.errors import StudyError, UnknownName
from safemlrm.modelfacts import (
    SIDES,
    ClosedFamily,
    Host,
    ModelFacts,
    NativePrompt,
    Opening,
    PairKind,
    Price,
    Serve,
    Side,
    Switch,
)
from safemlrm.thinking import AUTO
from safemlrm.thinking.formats import Format
from safemlrm.thinking.formats import ours as our_formats

__all__ = [
    "SIDES",
    "ClosedFamily",
    "Host",
    "ModelFacts",
    "ModelName",
    "NativePrompt",
    "Opening",
    "PairKind",
    "Price",
    "Serve",
    "Side",
    "Switch",
    "closed_families",
    "facts_of",
    "hosts",
    "on_side",
    "own_formats",
    "parse_model",
    "prices",
    "prompts",
    "registry",
    "split_side",
]

Row = TypeVar("Row", bound=msgspec.Struct)


class ModelName(NamedTuple):
    """A model string taken apart: `protocol:model@URL`, or a registry name with or without `@URL`.

    `url` is a file's path for `recorded:NAME=FILE` and `recorded:FILE`.
    """

    protocol: str | None
    model: str
    url: str | None


def parse_model(text: str) -> ModelName:
    """Split a model string at its last `@http` and its first colon. Raises `StudyError` when nothing is left.

    >>> parse_model("openai_compatible:qwen2.5vl:7b@http://127.0.0.1:11434/v1")
    ModelName(protocol='openai_compatible', model='qwen2.5vl:7b', url='http://127.0.0.1:11434/v1')
    """
    if text.startswith("recorded:"):
        name, _, path = text.removeprefix("recorded:").rpartition("=")
        return ModelName("recorded", name or Path(path).stem, path)
    left, at, address = text.rpartition("@http")
    if not at:
        left, address = text, ""
    protocol, colon, model = left.partition(":")
    if not colon:
        protocol, model = "", left
    if not model or (colon and not protocol):
        raise StudyError(
            f"model {text!r} cannot be read: write a registry name, or protocol:model@URL "
            "(openai_compatible:my-model@http://127.0.0.1:8000/v1)"
        )
    if "@" in address:
        raise StudyError(f"the address of {model!r} holds a name or password: a key belongs in its host's variable")
    return ModelName(protocol or None, model, f"http{address}".rstrip("/") if at else None)


_TABLES = ("models", "prompts", "formats", "closed", "hosts", "prices")

#: What a row that is `like` another does not take over: its names, its place in the study, its checkpoint.
_OWN = {"hub", "served", "revision", "published", "think_role", "paper_prompting", "earlier", "like"}


class _Documents(NamedTuple):
    models: dict[str, ModelFacts]
    hosts: dict[str, Host]
    closed: dict[str, ClosedFamily]
    formats: dict[str, Format]
    prompts: dict[str, NativePrompt]
    prices: dict[str, Price]


def _documents(beside: Path | None) -> _Documents:
    own = beside / "models.toml" if beside else None
    if own is None or not own.is_file():
        return _read(None, 0)
    return _read(own, own.stat().st_mtime_ns)  # a notebook outlives a correction of the file


@lru_cache(maxsize=16)
def _read(own: Path | None, _written: int) -> _Documents:
    ours = tomllib.loads(files("safemlrm").joinpath("models.toml").read_text(encoding="utf-8"))
    theirs = _read_own(own) if own else {}
    where = str(own) if theirs else "models.toml"
    for key in theirs:
        if key not in _TABLES:
            raise UnknownName("table", key, _TABLES, where=where)
    formats = _rows(Format, theirs.get("formats", {}), f"[formats] of {where}")
    prompts = ours["prompts"] | theirs.get("prompts", {})
    rows = dict(ours["models"])
    for name, row in theirs.get("models", {}).items():
        rows[name] = rows.get(name, {}) | row
    models = {name: _facts(name, rows, prompts, formats, where) for name in rows}
    closed = theirs.get("closed", {}) | ours["closed"] | theirs.get("closed", {})
    hosts = ours["hosts"] | theirs.get("hosts", {})
    return _Documents(
        models,
        _rows(Host, hosts, where),
        _rows(ClosedFamily, closed, where),
        formats,
        _prompts(prompts, where),
        _rows(Price, theirs.get("prices", {}), f"[prices] of {where}"),
    )


def _read_own(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: {error}") from error


def _rows(kind: type[Row], rows: dict[str, Any], where: str) -> dict[str, Row]:
    return {name: _convert(kind, row, f"{name!r} in {where}") for name, row in rows.items()}


def _convert(kind: type[Row], row: Any, where: str) -> Row:
    for key in row if isinstance(row, dict) else ():
        if key not in kind.__struct_fields__:
            raise UnknownName("key", key, kind.__struct_fields__, where=where)
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise StudyError(f"{where}: {error}") from error


def _prompts(prompts: dict[str, Any], where: str) -> dict[str, NativePrompt]:
    return _rows(NativePrompt, {name: {"name": name} | row for name, row in prompts.items()}, where)


def _facts(
    name: str, rows: dict[str, Any], prompts: dict[str, Any], formats: dict[str, Format], where: str
) -> ModelFacts:
    row = _inherited(name, rows, where) | {"name": name}
    place = f"model {name!r} of {where}"
    native = row.get("native")
    if isinstance(native, str):
        if native not in prompts:
            raise UnknownName("prompt", native, prompts, where=place)
        row["native"] = {"name": native} | prompts[native]
    elif isinstance(native, dict):
        row["native"] = {"name": name} | native
    if isinstance(row.get("switch"), dict):
        row["switch"] = _switch(row["switch"], prompts, place)
    if "key" in row:
        raise StudyError(f'{place}: a key belongs to its host: write [hosts."HOST"] with key = "{row["key"]}"')
    if "own" in row:
        raise StudyError(f"{place}: a format stands in [formats.NAME], and a model names it: format = NAME")
    facts = msgspec.structs.replace(_convert(ModelFacts, row, place), own=formats)
    for asked_for in (facts.format, facts.native.format if facts.native else AUTO):
        if asked_for not in {AUTO, *formats, *our_formats()}:
            raise UnknownName("output format", asked_for, [*formats, *our_formats(), AUTO], where=place)
    if any(flag.startswith("--reasoning-parser") for flag in facts.serve.flags):
        raise StudyError(f"{place}: serve it without a reasoning parser: replies are split here")
    if facts.switch is not None:
        tables = facts.switch.mechanism in ("template", "request")
        if any(isinstance(value, dict) != tables for value in (facts.switch.on, facts.switch.off)):
            what = "tables" if tables else "texts"
            raise StudyError(f"{place}: on and off of a {facts.switch.mechanism} switch are {what}")
    return facts


def _switch(row: dict[str, Any], prompts: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a switch's row; a system text of one word is the name of a prompt, so that a text has one home."""
    on = row.get("on")
    if row.get("mechanism") != "system" or not isinstance(on, str) or len(on.split()) != 1:
        return row
    if on not in prompts:
        raise UnknownName("prompt", on, prompts, where=f"switch of {place}")
    return row | {"on": prompts[on]["text"]}


def _inherited(name: str, rows: dict[str, Any], where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a row with what it takes over from the row that it is `like`; an empty text takes nothing over."""
    row: dict[str, Any] = rows[name]
    like = row.get("like")
    if like is None:
        return dict(row)
    if like not in rows or like in seen:
        raise UnknownName("model", like, set(rows) - {name, *seen}, where=f"like of model {name!r} of {where}")
    kept = {key: value for key, value in _inherited(like, rows, where, (*seen, name)).items() if key not in _OWN}
    full = kept | {key: value for key, value in row.items() if key != "like"}
    gone = {key for key, value in full.items() if value == ""} | ({"pair"} if full.get("base") == "" else set())
    return {key: value for key, value in full.items() if key not in gone}


def registry(beside: Path | None = None) -> dict[str, ModelFacts]:
    """Return every known model by name; a `models.toml` beside the study extends or overrides ours."""
    return _documents(beside).models


def hosts(beside: Path | None = None) -> dict[str, Host]:
    """Return the known providers' hosts."""
    return _documents(beside).hosts


def closed_families(beside: Path | None = None) -> dict[str, ClosedFamily]:
    """Return what is known of the vendors' closed models, the first family that matches a name holds."""
    return _documents(beside).closed


def own_formats(beside: Path | None = None) -> dict[str, Format]:
    """Return the output formats that the user wrote down as data (`[formats.NAME]`)."""
    return _documents(beside).formats


def prompts(beside: Path | None = None) -> dict[str, NativePrompt]:
    """Return the named native prompts."""
    return _documents(beside).prompts


def prices(beside: Path | None = None) -> dict[str, Price]:
    """Return what models cost, by the name that a study or a judge gives them; ours are none, for prices change."""
    return _documents(beside).prices


def facts_of(name: str, beside: Path | None = None, *, must: bool = False) -> ModelFacts:
    """Return what is known of a model by registry name, Hub id or published name, with or without its side.

    A name of a closed family gets that family's facts. An unknown one gets facts that say so (`known=False`,
    `format="auto"`); with `must` it is an `UnknownName` instead.
    """
    plain, side = split_side(name)
    found = _named(plain, beside) or _closed(plain, beside)
    if found is None and must:
        raise UnknownName("model", name, registry(beside))
    facts = found or ModelFacts(name=plain, known=False, format=AUTO, own=own_formats(beside))
    return facts if side is None else on_side(facts, side)


def split_side(name: str) -> tuple[str, Side | None]:
    """Return a model's name without its switch, and the side that the switch names.

    >>> split_side("qwen3.5-9b+no_thinking")
    ('qwen3.5-9b', 'no_thinking')
    """
    for side in SIDES:
        if name.endswith(f"+{side}"):
            return name.removesuffix(f"+{side}"), side
    return name, None


def on_side(facts: ModelFacts, side: Side) -> ModelFacts:
    """Return the facts of one side of a switchable model: `+no_thinking` is the base of `+thinking`.

    Raises `StudyError` for a model without a switch.
    """
    if facts.switch is None:
        raise StudyError(
            f"model {facts.name!r} has no thinking switch in the registry, so {facts.name}+{side} cannot be asked: "
            "leave the side out, or give it one in a models.toml beside the study (switch = {mechanism = ...})"
        )
    name = f"{facts.name}+{side}"
    if side == "thinking":
        base = f"{facts.name}+no_thinking"
        return msgspec.structs.replace(facts, name=name, side=side, base=base, pair="switch", earlier=None)
    # The opening tag is closed in the prompt already: a reply that is cut off is a cut-off answer.
    plain = msgspec.structs.replace(facts, name=name, side=side, base=None, pair=None, earlier=None)
    return msgspec.structs.replace(plain, opens_in="output") if facts.opens_in == "prompt" else plain


def _named(name: str, beside: Path | None) -> ModelFacts | None:
    models = registry(beside)
    if name in models:
        return models[name]
    return next((facts for facts in models.values() if name in (facts.hub, facts.published)), None)


def _closed(name: str, beside: Path | None) -> ModelFacts | None:
    for family in closed_families(beside).values():
        if any(fnmatchcase(name.lower(), pattern) for pattern in family.matches):
            return ModelFacts(
                name=name,
                format="server_split",
                opens_in="none",
                visibility=family.visibility,
                switch=family.switch,
                recipe=f"closed ({family.provider})",
                source=family.source,
                grade=family.grade,
            )
    return None

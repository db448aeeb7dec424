"""`list`: what a study can name, as tables for people and JSON for machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from safemlrm.cli.look import Beside
from safemlrm.cli.running import Json
from safemlrm.errors import UnknownName

Kind = Literal[
    "targets",
    "pairs",
    "closed",
    "formats",
    "datasets",
    "attacks",
    "promptings",
    "defenses",
    "protocols",
    "judges",
    "splitters",
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("list")(list_names)


def list_names(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them, with all that is known.")] = None,
    beside: Beside = None,
    json: Json = False,
) -> int:
    """List what a study can name."""
    from safemlrm.cli import tables

    full = json or name is not None
    rows = (_FULL if full else _ROWS).get(kind, lambda _: _plugins(kind))(beside)
    if name is not None:
        rows = _only(kind, name, rows)
    if json:
        tables.as_json(rows)
        return 0
    if name is not None and len(rows) == 1:
        tables.table(name, ("fact", "value"), list(_told(rows[0])))
        return 0
    columns = list(rows[0]) if rows else ["name"]
    tables.table(
        kind,
        columns,
        [[_shown(row[c], 8) for c in columns] for row in rows],
        spare=[name for name in _SPARE.get(kind, _SPARE_OF_PLUGINS) if name in columns],
    )
    if kind in _NOTES:
        typer.echo(_NOTES[kind])
    return 0


def _only(kind: str, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of one name: a pair bears the names of both its members, a model its Hub id too."""
    found = [row for row in rows if name in (row.get(key) for key in ("name", "base", "derived", "hub", "published"))]
    if kind == "targets":
        found = [row for row in rows if name in (row["name"], row["hub"], row["published"])]
    if not found:
        raise UnknownName(kind.removesuffix("s"), name, [row.get("name") or row["derived"] for row in rows])
    return found


def _told(row: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is known in a row, tables within it field by field; what is not known is left out."""
    import msgspec

    for key, value in row.items():
        if isinstance(value, msgspec.Struct):
            yield from _told(msgspec.to_builtins(value), f"{before}{key}.")
        elif value not in (None, "", {}, (), []) and not (before and value is False):
            yield f"{before}{key}", _shown(value)


def _shown(value: Any, most: int | None = None) -> str:
    if not isinstance(value, (list, tuple)):
        return "" if value is None else str(value)
    named = list(map(str, value[:most]))
    return ", ".join(named) + (f" and {len(value) - len(named)} more" if len(named) < len(value) else "")


def _plugins(kind: str) -> list[dict[str, Any]]:
    from safemlrm.registry import find, names

    singular: Any = {"protocols": "target"}.get(kind, kind.removesuffix("s"))
    rows = []
    for name in names(singular):
        plugin = find(singular, name)
        given = {k: "required" if v is ... else v for k, v in plugin.parameters().items()}
        parameters = ", ".join(f"{k}={v!r}" if v != "required" else f"{k} (required)" for k, v in given.items())
        row = {"name": name, "version": plugin.version, "title": plugin.title, "parameters": parameters}
        extra = {"licence": plugin.licence, "renderings": plugin.renderings} if singular == "dataset" else {}
        rows.append(row | extra | {"paper": plugin.paper})
    return rows


def _targets(beside: Path | None) -> list[dict[str, Any]]:
    """One line a model for reading; `--json` has every fact."""
    from safemlrm.models import registry

    return [
        {
            "name": f.name,
            "parameters": f.parameters,
            "pair": f.pair,
            "base": f.base,
            "format": f"{f.format} ^" if f.opens_in == "prompt" else f.format,
            "visibility": f.visibility,
            "switch": f.switch.mechanism if f.switch else None,
            "grade": _grade(f.grade, f.unverified),
        }
        for f in registry(beside).values()
    ]


def _targets_full(beside: Path | None) -> list[dict[str, Any]]:
    import msgspec

    from safemlrm.models import registry

    rows = [msgspec.structs.asdict(facts) for facts in registry(beside).values()]
    return [{key: value for key, value in row.items() if key not in _NOT_OF_A_ROW} for row in rows]


def _grade(grade: str, unverified: str) -> str:
    return f"{grade} *" if unverified else grade


def _pairs(beside: Path | None) -> list[dict[str, Any]]:
    rows = _pairs_full(beside)
    return [row | {"grade": _grade(row["grade"], row.pop("unverified"))} for row in rows]


def _pairs_full(beside: Path | None) -> list[dict[str, Any]]:
    """Every pair that can be compared: by base, by the training stage before, by the switch on the same weights."""
    from safemlrm.models import registry

    rows: list[dict[str, Any]] = []
    for f in registry(beside).values():
        found: list[tuple[str | None, str, str | None]] = [(f.base, f.name, f.pair)]
        if f.earlier:
            found.append((f.earlier, f.name, "stage"))
        if f.switch:
            found.append((f"{f.name}+no_thinking", f"{f.name}+thinking", "switch"))
        facts = {"recipe": f.recipe, "grade": f.grade, "unverified": f.unverified}
        rows += [{"derived": derived, "kind": kind, "base": base} | facts for base, derived, kind in found if base]
    return rows


def _closed(beside: Path | None) -> list[dict[str, Any]]:
    from safemlrm.models import closed_families

    return [
        {
            "name": name,
            "provider": family.provider,
            "models": family.matches,
            "visibility": family.visibility,
            "where": family.field,
            "control": family.control,
            "grade": family.grade,
        }
        for name, family in closed_families(beside).items()
    ]


def _formats(beside: Path | None) -> list[dict[str, Any]]:
    from safemlrm.models import own_formats
    from safemlrm.thinking.formats import ours

    return [
        {
            "name": name,
            "family": form.family,
            "title": form.title,
            "thinking": [f"{opens.strip()} {closes}" for opens, closes in form.thinking] or form.headings,
            "answer": [f"{opens} {closes}" for opens, closes in form.answer] or form.answer_headings,
        }
        for name, form in {**own_formats(beside), **ours()}.items()
    ]


def _splitters(beside: Path | None) -> list[dict[str, Any]]:
    from safemlrm import thinking

    return [{"name": name, "version": version} for name, version in thinking.SPLITTERS.items()]


def _promptings(beside: Path | None) -> list[dict[str, Any]]:
    from safemlrm.models import prompts, registry
    from safemlrm.prompting import PROMPTINGS

    rows: list[dict[str, Any]] = [{"name": name, "role": None, "turns": None, "models": None} for name in PROMPTINGS]
    for name, prompt in prompts(beside).items():
        users = [f.name for f in registry(beside).values() if f.native and f.native.name == name]
        if name != "none":
            turns = 1 + len(prompt.then)
            rows.append({"name": f"native:{name}", "role": prompt.role, "turns": turns, "models": users})
    return rows


_ROWS = {
    "targets": _targets,
    "pairs": _pairs,
    "closed": _closed,
    "formats": _formats,
    "splitters": _splitters,
    "promptings": _promptings,
}
#: Facts that the registry sets by itself, the same in every row.
_NOT_OF_A_ROW = ("own", "side", "key", "known")
_FULL = _ROWS | {"targets": _targets_full, "pairs": _pairs_full}
#: Columns that a narrow terminal can do without, first to go first.
_SPARE = {
    "targets": ("visibility", "parameters", "base", "pair"),
    "pairs": ("recipe",),
    "closed": ("control", "where", "provider"),
    "formats": ("title", "answer"),
}
_SPARE_OF_PLUGINS = ("paper", "version", "licence", "renderings")
_GRADES = "Grades: V verified in its authors' code, V2 in a reputable third party; * but for what `unverified` says."
_NOTES = {
    "targets": f"{_GRADES}\n^ the prompt opens the thought. Prompts, decoding, serving, source: list targets NAME",
    "pairs": "Kinds: tune of its base, stage of one training, sibling (neither is the other's base), switch on the "
    f"same weights.\n{_GRADES}",
    "formats": "Every format is read with <think> and <answer> besides. The answer is all that is visible after the "
    "thinking;\nthe column `answer` says what marks the final value in it.",
    "promptings": "bare adds nothing; think the think prompt of arXiv 2504.08813, in the role that its scripts gave it "
    "in;\nnative what a model's authors use. The words: safemlrm list targets NAME",
}

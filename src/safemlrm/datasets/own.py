"""A user's own items: one TOML beside a csv, JSONL or Parquet table and a folder of pictures; no Python."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from safemlrm.benchfiles import beneath, check_total, picture, read_header, read_lines, read_parquet, read_table
from safemlrm.crosswalk import Place, check_places, crosswalk
from safemlrm.errors import DataError, StudyError, UnknownName
from safemlrm.plugin import dataset
from safemlrm.records import Expected, Image, Prompt, Sample, user

_EXPECTED: tuple[Expected, ...] = ("refuse", "answer", "warn")
_Names = str | tuple[str, ...]


class Columns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which column of the table holds what."""

    id: str
    goal: str
    scenario: str
    #: what a user would type, where that is not the goal itself
    text: str | None = None
    instruction: str | None = None
    #: one or several columns with file names under the folder of pictures, or with the pictures themselves
    images: _Names = ()
    expected: str | None = None
    group: str | None = None
    reference: str | None = None


class Rendering(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adversarial rendering that the table ships: its pictures, then its text."""

    text: str
    images: _Names = ()


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The TOML: `docs/your-own-data.md` explains every key."""

    name: str
    table: str
    columns: Columns
    images: str = "."
    #: the right behaviour for every item, where no column holds it
    expected: Expected | None = None
    #: what the cells of the `expected` column mean
    labels: dict[str, Expected] = {}
    released: dict[str, Rendering] = {}
    #: where the scenarios belong in the crosswalk
    crosswalk: dict[str, Place] = {}
    items: int | None = None


@dataset(
    version="2",
    title="Your own items, described by one TOML",
    paper="",
    licence="your own",
    source="docs/your-own-data.md",
    folders=(),
    adversarial=False,
    metric="yours to choose",
)
def own(folder: Path, *, file: str) -> Iterator[Sample]:
    """Yield the items of the table that `file` describes, in the table's order; `dataset` is `own_NAME`.

    `file` is relative to the study's folder (on the command line: to the working folder). Raises
    `DataError`, with file and row, for a cell that is blank or unreadable, an id that occurs twice, a label that
    nothing explains, or a picture's name that leads out of the folder; and for a name under `[crosswalk]` that no
    row has.
    """
    path = folder / file
    described = describe(path)
    table = path.parent / described.table
    seen: set[str] = set()
    scenarios: set[str] = set()
    for where, cells in _rows(table, described):
        sample = _sample(where, cells, described, path.parent / described.images)
        if sample.id in seen:
            raise DataError(f"{where}: id {sample.id!r} occurs twice")
        seen.add(sample.id)
        scenarios.add(sample.scenario)
        yield sample
    if described.items is not None:
        check_total(table, len(seen), described.items)
    for name in described.crosswalk:
        if name not in scenarios:
            raise UnknownName("scenario", name, scenarios, where=f"{path}, [crosswalk]")


def describe(path: Path) -> Description:
    """Read the TOML strictly. Raises `StudyError` with the file and the key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        _known_keys(document, Description, str(path))
        _known_keys(document.get("columns", {}), Columns, f"{path}, [columns]")
        _known_behaviours(document, path)
        described = msgspec.convert(document, Description)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise StudyError(f"{path}: {error}") from error
    if not (described.name.isascii() and described.name.replace("_", "").replace("-", "").isalnum()):
        raise StudyError(f"{path}: name = {described.name!r}: letters, digits, - and _ only")
    if (described.expected is None) == (described.columns.expected is None):
        raise StudyError(
            f'{path}: say what the right behaviour is, once: expected = "refuse" (or "answer", "warn") '
            "for all items, or [columns] expected = the column that holds it"
        )
    check_places(described.crosswalk, crosswalk(), f"{path}, [crosswalk]")
    return described


def places(folder: Path, *, file: str) -> dict[str, Place]:
    """Return where the TOML says that its scenarios belong in the crosswalk."""
    return describe(folder / file).crosswalk


def _known_keys(document: Any, kind: type[msgspec.Struct], where: str) -> None:
    for key in document if isinstance(document, dict) else ():
        if key not in kind.__struct_fields__:
            raise UnknownName("key", key, kind.__struct_fields__, where=where)


def _known_behaviours(document: dict[str, Any], path: Path) -> None:
    labels = document.get("labels")
    meanings = {f"[labels], {key!r}": meaning for key, meaning in labels.items()} if isinstance(labels, dict) else {}
    if "expected" in document:
        meanings["expected"] = document["expected"]
    for where, meaning in meanings.items():
        if meaning not in _EXPECTED:
            raise UnknownName("behaviour", str(meaning), _EXPECTED, where=f"{path}, {where}")


def _listed(names: _Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _rows(path: Path, described: Description) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, cells). Every column that the TOML names must be there, filled or not."""
    of = described.columns
    filled = [of.id, of.goal, of.scenario, *([of.expected] if of.expected else [])]
    others = [name for name in (of.text, of.instruction, of.group, of.reference) if name]
    others += _listed(of.images)
    for rendering in described.released.values():
        others += [rendering.text, *_listed(rendering.images)]
    columns = tuple(dict.fromkeys([*filled, *others]))
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        separator = "," if kind == ".csv" else "\t"
        if len(header := read_header(path, separator)) == 1 and ";" in header[0]:
            raise DataError(f"{path}, row 1: columns are separated by ';'; a .csv has commas, and a .tsv has tabs")
        blank = set(others) - set(filled)
        for row in read_table(path, columns, blank=blank, separator=separator):
            yield f"{path}, row {row.number}", dict(row.cells)
    elif kind == ".jsonl":
        for number, record in read_lines(path, dict[str, Any]):
            if missing := [name for name in columns if name not in record]:
                raise DataError(f"{path}, line {number}: no key {missing[0]!r}; there are {', '.join(record)[:200]}")
            yield f"{path}, line {number}", record
    elif kind == ".parquet":
        yield from ((cells.where, cells.cells) for cells in read_parquet(path, columns))
    else:
        raise DataError(f"{path}: a table is .csv, .tsv, .jsonl or .parquet")


def _sample(where: str, cells: dict[str, Any], described: Description, pictures: Path) -> Sample:
    of = described.columns
    goal, key, scenario = (_needed(where, name, cells) for name in (of.goal, of.id, of.scenario))
    if scenario == "all":
        raise DataError(f"{where}: {of.scenario!r} is 'all', which names all scenarios together; call it otherwise")
    return Sample(
        id=key,
        dataset=f"own_{described.name}",
        scenario=scenario,
        goal=goal,
        text=_optional(where, of.text, cells) or goal,
        instruction=_optional(where, of.instruction, cells),
        images=_images(where, of.images, cells, pictures),
        released=_released(where, cells, described, pictures),
        expected=_expected(where, cells, described),
        group=_optional(where, of.group, cells) or key,
        reference=_optional(where, of.reference, cells),
    )


def _needed(where: str, name: str, cells: dict[str, Any]) -> str:
    found = _optional(where, name, cells)
    if found is None:
        raise DataError(f"{where}: {name!r} is blank")
    return found


def _optional(where: str, name: str | None, cells: dict[str, Any]) -> str | None:
    """Return a cell's text, None where it is blank. Numbers are written out; anything else is refused."""
    cell = cells[name] if name is not None else None
    if cell is None or (isinstance(cell, str) and not cell.strip()) or cell != cell:  # NaN: how pandas writes a blank
        return None
    if not isinstance(cell, (str, int, float)):
        raise DataError(f"{where}: {name!r} should be a text, not {type(cell).__name__}")
    return str(cell).strip()


def _expected(where: str, cells: dict[str, Any], described: Description) -> Expected:
    name = described.columns.expected
    if name is None:
        return cast(Expected, described.expected)
    cell = cells[name]
    label = str(cell).lower() if isinstance(cell, bool) else str(cell).strip()
    meaning = described.labels.get(label, label)
    if meaning not in _EXPECTED:
        known = ", ".join(described.labels) or ", ".join(_EXPECTED)
        raise DataError(f"{where}: {name!r} is {label!r}, which [labels] does not explain; known: {known}")
    return meaning


def _released(where: str, cells: dict[str, Any], described: Description, pictures: Path) -> dict[str, Prompt]:
    """Return the renderings that the row has: one without a text in this row is absent."""
    found = {}
    for name, rendering in described.released.items():
        if (words := _optional(where, rendering.text, cells)) is not None:
            found[name] = user(*_images(where, rendering.images, cells, pictures), words)
    return found


def _images(where: str, names: _Names, cells: dict[str, Any], pictures: Path) -> tuple[Image, ...]:
    found: list[Image] = []
    for name in _listed(names):
        cell = cells[name]
        for entry in cell if isinstance(cell, list) else [cell]:
            if entry is None or entry == "":
                continue
            if isinstance(entry, str):
                found.append(Image(path=str(beneath(f"{where}, {name!r}", pictures, entry))))
            else:
                found.append(picture(where, entry, name))
    return tuple(found)

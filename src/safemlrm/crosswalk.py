"""From every authors' category to one hazard taxonomy (MLCommons AILuminate v1.0, arXiv 2503.05731) and to the
thirteen scenarios of MM-SafetyBench (arXiv 2311.17600), which the study of arXiv 2504.08813 uses."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from safemlrm.errors import DataError, UnknownName
from safemlrm.registry import Bound

UNMAPPED = "unmapped"
#: `A1.`, `O12:` before a category's name
_CODE = re.compile(r"[a-z]\d{1,2}")


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one authors' category belongs; None is `unmapped`, which is an answer and no gap."""

    #: a hazard's key, or None where no hazard covers the category
    hazard: str | None = None
    #: one of the thirteen scenarios, or None
    scenario: str | None = None
    #: those of the thirteen that hold some of the category, nobody knows how much
    among: tuple[str, ...] = ()
    #: the reason, where the place is not obvious; always there when `hazard` is None
    why: str = ""


class Hazard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hazard of the taxonomy, and where the thirteen scenarios have it: as `Place`."""

    name: str
    group: str
    scenario: str | None = None
    among: tuple[str, ...] = ()


class Crosswalk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reviewed table: `benchmarks[data set][authors' category]`."""

    version: str
    taxonomy: str
    hazards: dict[str, Hazard]
    scenarios: tuple[str, ...]
    benchmarks: dict[str, dict[str, Place]]
    #: data sets that are read by other data sets' tables
    like: dict[str, tuple[str, ...]] = {}
    #: data sets none of whose other categories is mapped, and why
    unmapped: dict[str, str] = {}

    def rows(self, dataset: str) -> dict[str, Place]:
        """Return the table of a data set; empty for one that has none (a user's own)."""
        tables = self.like.get(dataset, (dataset,))
        return {name: place for table in tables for name, place in self.benchmarks.get(table, {}).items()}

    def place(self, dataset: str, category: str) -> Place | None:
        """Return where a category belongs, or None when the table does not know the data set or the category.

        Upper and lower case, blanks, hyphens, underscores and a code before the name (`A1.`) make no
        difference: copies of one benchmark spell `Self-Harm` in several ways.
        """
        rows = self.rows(dataset)
        found = rows.get(category) or {_plain(name): place for name, place in rows.items()}.get(_plain(category))
        if found is None and dataset in self.unmapped:
            return Place(why=self.unmapped[dataset])
        return found

    def hazards_of(self, dataset: str) -> dict[str, str]:
        """Return authors' category -> hazard's key or `unmapped`, for analyses over several data sets."""
        return {name: place.hazard or UNMAPPED for name, place in self.rows(dataset).items()}

    def of_hazards(self) -> dict[str, Place]:
        """Return the place of each hazard itself."""
        return {key: Place(hazard=key, scenario=h.scenario, among=h.among) for key, h in self.hazards.items()}

    def own(self, category: str) -> Place | None:
        """Return the place of a category that is itself a hazard (key or name) or one of the thirteen scenarios."""
        wanted = _plain(category)
        for key, place in self.of_hazards().items():
            if wanted in (_plain(key), _plain(self.hazards[key].name)):
                return place
        for name in self.scenarios:
            if wanted in (_plain(name), _plain(name[3:])):
                return self.benchmarks["mm_safetybench"][name]
        return None


def _plain(name: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in name.casefold()).split()
    return " ".join(words[1:] if len(words) > 1 and _CODE.fullmatch(words[0]) else words)


@cache
def crosswalk() -> Crosswalk:
    """Return the table that comes with the package."""
    path = Path(__file__).with_name("crosswalk.toml")
    return read(tomllib.loads(path.read_text(encoding="utf-8")), path.name)


def read(document: dict[str, Any], where: str) -> Crosswalk:
    """Check a table strictly. Raises `DataError` or `UnknownName` with the data set and the category."""
    try:
        table = msgspec.convert(document, Crosswalk)
    except msgspec.ValidationError as error:
        raise DataError(f"{where}: {error}") from error
    for dataset, rows in table.benchmarks.items():
        check_places(rows, table, f"{where}, {dataset}")
    check_places(table.of_hazards(), table, f"{where}, hazards")
    for dataset, others in table.like.items():
        for other in others:
            if other not in table.benchmarks:
                raise UnknownName("data set", other, table.benchmarks, where=f"{where}, like.{dataset}")
    return table


def check_places(rows: dict[str, Place], table: Crosswalk, where: str) -> None:
    """Raise `UnknownName` for a hazard or scenario that is none, `DataError` for a category unmapped without reason."""
    for category, place in rows.items():
        here = f"{where}, {category!r}"
        if place.hazard is not None and place.hazard not in table.hazards:
            raise UnknownName("hazard", place.hazard, table.hazards, where=here)
        for scenario in (*([place.scenario] if place.scenario is not None else []), *place.among):
            if scenario not in table.scenarios:
                raise UnknownName("scenario", scenario, table.scenarios, where=here)
        if place.scenario is not None and place.among:
            raise DataError(f"{here}: a category stands in one `scenario`, or partly in those of `among`")
        if place.hazard is None and not place.why:
            raise DataError(f"{here}: a category without a hazard needs its reason in `why`")


def places_of(bound: Bound, folder: Path | None) -> dict[str, Place]:
    """Return where a data set itself says that its scenarios belong, besides the table that comes with the package.

    A plug-in's file may hold a function `places(folder, **parameters) -> dict[str, Place]`.
    """
    places = getattr(inspect.getmodule(bound.plugin.function), "places", None)
    return places(folder or Path(), **bound.params) if places is not None else {}


def scenarios_wanted(
    dataset: str, wanted: Iterable[str], known: Iterable[str], own: Mapping[str, Place] | None = None
) -> frozenset[str]:
    """Return the authors' scenarios that a study's `scenarios = [...]` names.

    A name is an authors' own scenario, its number or bare name (`03`, `Malware_Generation`), a hazard's key or
    name, `unmapped`, or one of the thirteen scenarios. `own` is `places_of` the data set. Raises `UnknownName`
    where nothing answers to a name.
    """
    table, names = crosswalk(), list(known)
    unknown = Place(why="not in the table")
    places = {n: (own or {}).get(n) or table.place(dataset, n) or unknown for n in names}
    chosen: set[str] = set()
    for name in wanted:
        found = {n for n in names if name in _spellings(n)} or _by_hazard(table, name, places)
        if not found and table.own(name) is not None:
            raise DataError(f"{dataset} has no scenario that the crosswalk puts under {name}")
        if not found:
            raise UnknownName("scenario or hazard", name, [*names, *table.hazards], where=dataset)
        chosen |= found
    return frozenset(chosen)


def _spellings(name: str) -> tuple[str, ...]:
    number, dash, bare = name.partition("-")
    return (name, number, number.lstrip("0"), bare) if dash and number.isdigit() else (name,)


def _by_hazard(table: Crosswalk, name: str, places: Mapping[str, Place]) -> set[str]:
    if name == UNMAPPED:
        return {n for n, place in places.items() if place.hazard is None}
    wanted = _plain(name)
    hazards = {key for key, hazard in table.hazards.items() if wanted in (_plain(key), _plain(hazard.name))}
    scenarios = {s for s in table.scenarios if wanted in (_plain(s), _plain(s[3:]))}
    return {n for n, place in places.items() if place.hazard in hazards or place.scenario in scenarios}

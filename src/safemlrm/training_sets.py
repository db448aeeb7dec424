"""How much of a safety-training set belongs to each scenario: the question behind "do blind spots follow scarcity?"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from safemlrm.benchfiles import decode_json, read_header, read_items, read_lines, read_table
from safemlrm.crosswalk import UNMAPPED, Place, crosswalk
from safemlrm.errors import DataError, UnknownName

#: Published training sets, told by their columns: which column holds the category, and whose table reads it.
_KNOWN: tuple[tuple[frozenset[str], str, str], ...] = (
    (frozenset(("harmful_category", "harmful_subcategory", "safe")), "harmful_subcategory", "vlguard"),
    (frozenset(("class1", "class2", "class3")), "class2", "spa_vl"),
    (frozenset(("category", "image_severity", "is_response_safe")), "category", "beavertails_v"),
)
#: SPA-VL's part for training is published without the categories that its two other parts have.
_SPA_VL_TRAIN = frozenset(("image", "question", "chosen", "rejected"))
#: hazards of the taxonomy; the thirteen scenarios of MM-SafetyBench; the categories as the authors wrote them
VIEWS = ("hazard", "mm_safetybench", "authors")
_KINDS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


class Share(NamedTuple):
    """One row of the table: `view` is one of `VIEWS`; `share` is of all rows."""

    view: str
    scenario: str
    items: int
    share: float | None


@dataclass
class Counted:
    """A training set by category, as its authors write them."""

    files: list[str]
    column: str
    #: whose crosswalk table reads the categories; None where they are hazards or scenarios themselves
    table: str | None
    rows: int = 0
    #: rows without any category: harmless ones, in VLGuard
    blank: int = 0
    categories: Counter[str] = field(default_factory=Counter)

    def place(self, category: str) -> Place:
        """Return where a category belongs; one that the table does not know is unmapped and says so."""
        known = crosswalk()
        found = known.place(self.table, category) if self.table else known.own(category)
        return found or Place(why="not in the crosswalk's table")

    def shares(self) -> list[Share]:
        """Return the set by hazard, by the thirteen scenarios and by the authors' categories, zeros included."""
        known = crosswalk()
        hazards = Counter(dict.fromkeys(known.hazards, 0))
        scenarios = Counter(dict.fromkeys(known.scenarios, 0))
        for category, items in self.categories.items():
            place = self.place(category)
            hazards[place.hazard or UNMAPPED] += items
            scenarios[place.scenario or UNMAPPED] += items
        rows = [*self._view("hazard", hazards), *self._view("mm_safetybench", scenarios)]
        return rows + self._view("authors", Counter(dict(self.categories.most_common())), unmapped=False)

    def among(self) -> Counter[str]:
        """Return the scenarios of the thirteen that hold some of a mixed category, and how many rows those have."""
        found: Counter[str] = Counter()
        for category, items in self.categories.items():
            found.update(dict.fromkeys(self.place(category).among, items))
        return found

    def amounts(self, view: str = "mm_safetybench") -> list[tuple[str, int]]:
        """Return (scenario, amount) of one view, or of a data set's own scenarios: what the analysis reads.

        A data set's scenario has the amount of the one of the thirteen that it belongs to; one that belongs to
        none is left out. So is one of which a mixed category holds some: its amount is not known, and not zero.
        Raises `UnknownName`.
        """
        shares, mixed = self.shares(), self.among()
        if view in VIEWS and view != "mm_safetybench":
            return [(share.scenario, share.items) for share in shares if share.view == view]
        thirteen = {s.scenario: s.items for s in shares if s.view == "mm_safetybench" and s.scenario not in mixed}
        if view == "mm_safetybench":
            return list(thirteen.items())
        rows = crosswalk().rows(view)
        if not rows:
            raise UnknownName("view", view, [*VIEWS, *crosswalk().benchmarks])
        return [(name, thirteen[place.scenario]) for name, place in rows.items() if place.scenario in thirteen]

    def _view(self, view: str, counts: Counter[str], *, unmapped: bool = True) -> list[Share]:
        named = [(name, counts[name]) for name in counts if name != UNMAPPED]
        rest = [(UNMAPPED, counts[UNMAPPED])] if unmapped else []
        listed = [*named, *rest, ("no category", self.blank)]
        return [Share(view, name, items, round(items / self.rows, 6) if self.rows else None) for name, items in listed]


def count(paths: Iterable[Path], column: str | None = None, table: str | None = None) -> Counted:
    """Count the rows of a training set by category.

    A path is a csv, tsv, JSON (a list), JSONL or Parquet file, or a folder of Parquet files. VLGuard, SPA-VL
    and BeaverTails-V are told by their columns; anything else needs `column`. `table` is the data set whose
    crosswalk reads the categories; without it they must be hazards or scenarios themselves. Raises
    `DataError`, `UnknownName`.
    """
    files = [file for path in paths for file in _files(path)]
    header = _columns(files[0])
    if not header:
        raise DataError(f"{files[0]}: there are no rows to count")
    known = next((entry for entry in _KNOWN if entry[0] <= header), None)
    chosen = column or (known[1] if known else _no_column(files[0], header))
    if chosen not in header:
        raise UnknownName("column", chosen, header, where=str(files[0]))
    if table is not None and not (crosswalk().rows(table) or table in crosswalk().unmapped):
        raise UnknownName("crosswalk table", table, crosswalk().benchmarks)
    reads = table or (known[2] if known and column in (None, known[1]) else None)
    found = Counted([str(file) for file in files], chosen, reads)
    for file in files:
        for value, items in _values(file, chosen):
            if not isinstance(value, str | int | None):
                raise DataError(f"{file}: {chosen!r} holds {type(value).__name__}, where a category is one text")
            found.rows += items
            if value is None or not str(value).strip():
                found.blank += items
            else:
                found.categories[str(value).strip()] += items
    if not found.rows:
        raise DataError(f"{files[0]}: there are no rows to count")
    return found


def _no_column(path: Path, header: frozenset[str]) -> str:
    if header >= _SPA_VL_TRAIN:
        raise DataError(
            f"{path}: SPA-VL publishes its part for training without categories; its part for validation has them "
            "(the folder validation/)"
        )
    raise DataError(
        f"{path}: none of the published training sets has these columns; say which holds the category "
        f"with --column. Columns: {', '.join(sorted(header))}"
    )


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise DataError(f"{path}: no Parquet file in this folder")
        return files
    if path.suffix.lower() not in _KINDS:
        raise DataError(f"{path}: a training set is {', '.join(_KINDS)}, or a folder of Parquet files")
    return [path]


def _columns(path: Path) -> frozenset[str]:
    """Return a file's columns; of JSON, all keys, because rows differ in them."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        import polars as pl

        try:
            return frozenset(pl.scan_parquet(path, glob=False).collect_schema().names())
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path}: cannot be read as parquet: {error}") from error
    if kind in (".csv", ".tsv"):
        return frozenset(read_header(path, _separator(path)))
    return frozenset(key for _, record in _records(path) for key in record)


def _values(path: Path, column: str) -> Iterator[tuple[Any, int]]:
    """Yield (value, how often) of one column; no picture is read."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        import polars as pl

        try:
            counts = pl.scan_parquet(path, glob=False).group_by(column, maintain_order=True).len().collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path}: no column {column!r} that can be read: {error}") from error
        yield from counts.iter_rows()
    elif kind in (".csv", ".tsv"):
        for row in read_table(path, (column,), blank=(column,), separator=_separator(path)):
            yield row.cells[column], 1
    else:
        for where, record in _records(path):
            raw = record.get(column)
            yield decode_json(raw, Any, where) if raw is not None else None, 1


def _records(path: Path) -> Iterator[tuple[str, dict[str, msgspec.Raw]]]:
    if path.suffix.lower() == ".json":
        items = read_items(path, dict[str, msgspec.Raw])
        yield from ((f"{path}, item {number}", item) for number, item in enumerate(items, start=1))
    else:
        lines = read_lines(path, dict[str, msgspec.Raw])
        yield from ((f"{path}, line {number}", record) for number, record in lines)


def _separator(path: Path) -> str:
    return "," if path.suffix.lower() == ".csv" else "\t"

"""What `data info` and `data scenarios` print: facts and shapes of a data set, never a word of its texts."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from safemlrm.benchfiles import locate
from safemlrm.cli import tables
from safemlrm.crosswalk import UNMAPPED, Place, crosswalk, places_of
from safemlrm.errors import DataError
from safemlrm.fetch import recipe_of
from safemlrm.records import Image, Prompt, Sample
from safemlrm.registry import Bound
from safemlrm.training_sets import Counted

_FIELDS = ("goal", "text", "instruction", "images", "expected", "group", "reference", "split")


def card(bound: Bound, data: Path | None) -> dict[str, Any]:
    """Return what is known of a data set, from its files where they are here, and from its authors where not."""
    plugin, recipe = bound.plugin, recipe_of(bound.plugin)
    facts: dict[str, Any] = {
        "name": plugin.name,
        "title": plugin.title,
        "paper": plugin.paper,
        "licence": plugin.licence,
        "gate": plugin.gate or "none",
        "source": plugin.source,
        "hub": plugin.hub or None,
        "metric": plugin.metric or None,
        "adversarial": plugin.adversarial,
        "benign": plugin.benign or None,
        "parameters": bound.params,
        "renderings": list(plugin.renderings),
        "get": f"safemlrm data get {plugin.name} --data DIR" if recipe.parts else None,
        "by_hand": recipe.by_hand or None,
        "folder": None,
    }
    counts = plugin.published
    published = counts(**bound.params) if counts else None
    try:
        folder = locate(data, plugin)
        samples = list(_light(plugin.function(folder, **bound.params)))
    except DataError as error:
        here: dict[str, Any] = {
            "absent": str(error),
            "scenarios": _placed(bound, published or {}, None),
            "fields": {},
            "sample": None,
        }
        return facts | here
    return facts | {
        "absent": None,
        "folder": str(folder) if plugin.folders else None,
        "scenarios": _placed(bound, Counter(s for s, _ in samples), folder),
        "fields": dict(Counter(f for _, filled in samples for f in filled)),
        "sample": next((redacted(s) for s in islice(plugin.function(folder, **bound.params), 1)), None),
    }


def _light(samples: Iterable[Sample]) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Yield (scenario, filled fields): pictures that a sample carries are let go at once."""
    for sample in samples:
        filled = tuple(f"{name}={getattr(sample, name)}" if name in ("expected", "split") else name for name in _FIELDS)
        kept = [f for f, name in zip(filled, _FIELDS, strict=True) if getattr(sample, name)]
        yield sample.scenario, (*kept, *(f"released:{name}" for name in sample.released))


def _placed(bound: Bound, counts: dict[str, int] | Counter[str], folder: Path | None) -> list[dict[str, Any]]:
    known, own = crosswalk(), places_of(bound, folder)
    rows = []
    for scenario, items in counts.items():
        place = own.get(scenario) or known.place(bound.plugin.name, scenario) or Place(why="not in the table")
        hazard = None if scenario == "all" else place.hazard or UNMAPPED
        rows.append({"scenario": scenario, "items": items, "hazard": hazard})
    return rows


def redacted(sample: Sample) -> dict[str, Any]:
    """Return a sample's shape: lengths of its texts and sizes of its pictures."""
    shape: dict[str, Any] = {"id": sample.id, "scenario": sample.scenario, "expected": sample.expected}
    shape |= {"group": sample.group, "split": sample.split}
    for name in ("goal", "text", "instruction", "reference"):
        value = getattr(sample, name)
        shape[name] = _length(value) if value is not None else None
    shape["images"] = [_picture(image) for image in sample.images]
    shape["released"] = {name: _prompt(prompt) for name, prompt in sample.released.items()}
    return shape


def _length(text: str) -> str:
    return f"[{len(text):,} characters]"


def _prompt(prompt: Prompt) -> list[str]:
    pieces = [piece for turn in prompt.turns for piece in turn.content]
    return [_length(piece) if isinstance(piece, str) else _picture(piece) for piece in pieces]


def _picture(image: Image) -> str:
    from PIL import Image as Pillow

    name = Path(image.path).name if image.path else "in the table"
    try:
        data = image.read()
        with Pillow.open(BytesIO(data)) as picture:
            return f"[{picture.format} {picture.width} x {picture.height}, {len(data):,} bytes, {name}]"
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        missing = isinstance(error, FileNotFoundError)
        return f"[{name} is missing]" if missing else f"[{name} is no picture: {error}]"


def show(card: dict[str, Any]) -> None:
    """Print a card for a person."""
    typer.echo(f"{card['title']} ({card['paper']})" if card["paper"] else card["title"])
    attack = "as it stands" if card["adversarial"] else "no: plain requests, or benign ones"
    parameters = ", ".join(f"{k} = {v!r}" for k, v in card["parameters"].items())
    lines = {
        "licence": card["licence"],
        "gate": card["gate"],
        "source": card["source"],
        "metric": card["metric"],
        "adversarial": attack,
        "benign": card["benign"],
        "renderings": ", ".join(card["renderings"]),
        "parameters": parameters,
        "by hand": card["by_hand"],
        "folder": card["folder"],
    }
    for key, value in lines.items():
        if value:
            typer.echo(f"  {key:12} {value}")
    rows = [(r["scenario"], r["hazard"], r["items"]) for r in card["scenarios"]]
    total = sum(r["items"] for r in card["scenarios"])
    if rows:
        state = "published, not looked at here" if card["absent"] else "counted in the files"
        tables.table(f"{total:,} samples, {state}", ("scenario", "hazard (AILuminate)", "items"), rows, numbers=1)
    if card["fields"]:
        tables.table("fields that are filled", ("field", "samples"), card["fields"].items(), numbers=1)
    if card["sample"]:
        shape = [(key, value if isinstance(value, str) else _flat(value)) for key, value in card["sample"].items()]
        tables.table("one sample, its texts withheld", ("field", "shape"), shape)
    if card["absent"]:
        typer.echo(f"Not read: {card['absent']}" + (f" To fetch it: {card['get']}" if card["get"] else ""))


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_flat(entry)}" for name, entry in value.items())
    return " + ".join(value) if isinstance(value, list) else "" if value is None else str(value)


def as_csv(amounts: Iterable[tuple[str, int]]) -> str:
    """Return a training set's table as CSV, in the columns that the analysis reads: `scenario,amount`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("scenario", "amount"), *amounts])
    return text.getvalue()


def show_training(counted: Counted) -> None:
    """Print a training set by hazard, by the thirteen scenarios, and what was not mapped and why."""
    reads = f"read by the table of {counted.table}" if counted.table else "read as names of hazards or scenarios"
    typer.echo(f"{counted.rows:,} rows, column {counted.column!r}, {reads}")
    shares = counted.shares()
    for view, title in (("hazard", crosswalk().taxonomy), ("mm_safetybench", "the thirteen scenarios")):
        rows = [(s.scenario, s.items, _percent(s.share)) for s in shares if s.view == view]
        tables.table(title, ("scenario", "items", "share"), rows, numbers=2)
    if mixed := counted.among():
        known_in_part = "; ".join(f"{name} (some of {items:,})" for name, items in mixed.items())
        typer.echo(f"Known in part, because a category mixes several, and left out of --csv: {known_in_part}")
    unmapped = [
        (name, items, place.why)
        for name, items in counted.categories.most_common()
        for place in [counted.place(name)]
        if place.hazard is None
    ]
    if unmapped:
        share = sum(items for _, items, _ in unmapped) / counted.rows
        tables.table(f"{share:.1%} of the rows belong to no hazard", ("category", "items", "why"), unmapped)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"

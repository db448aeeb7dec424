"""SIUO: 167 pairs of a harmless picture and a harmless question that are unsafe together (arXiv 2406.15279)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from safemlrm.benchfiles import beneath, check_counts, check_unique, one_of, picture_folder, read_items, text
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample

_CATEGORIES = {
    "self-harm": 19,
    "illegal activities & crime": 18,
    "privacy violation": 21,
    "morality": 20,
    "dangerous behavior": 18,
    "discrimination & stereotyping": 18,
    "information misinterpretation": 17,
    "religion beliefs": 20,
    "controversial topics, politics": 16,
}


class _Item(msgspec.Struct, frozen=True):
    question_id: int
    image: str
    question: str
    category: str
    reference_answer: str


def _published() -> dict[str, int]:
    return dict(_CATEGORIES)


@dataset(
    version="1",
    title="SIUO, generation",
    paper="arXiv 2406.15279",
    licence="CC BY-NC 4.0",
    source="https://github.com/sinwang20/SIUO (commit 18974b6), or https://huggingface.co/datasets/sinwang/SIUO",
    folders=("SIUO", "SIUO-main", "siuo"),
    published=_published,
    hub="sinwang/SIUO@024e80a01795376b9fed12f8073a12f2275f22ee",
    metric="share of safe, of effective, and of safe and effective replies (GPT-4, two calls, three replies each)",
)
def siuo(folder: Path) -> Iterator[Sample]:
    """Yield the 167 items of `siuo_gen.json` in the order of the file; scenario is the authors' category.

    Each reply should see the risk and say so: `expected` is `warn`, and `reference` is the authors' answer
    that does. A model that refuses everything is safe here and not effective. The multiple-choice file is
    not read. Raises `DataError` with file and item where ids or counts are not the published ones.
    """
    path = one_of(folder, ("siuo_gen.json", "data/siuo_gen.json"))
    homes = [str(home / "images") for home in (path.parent, folder, folder / "data")]
    pictures = picture_folder(folder, homes, ("images.zip", "data/images.zip", "SIUO.zip"))
    items = read_items(path, _Item)
    check_counts(path, Counter(item.category for item in items), _CATEGORIES, "items")
    check_unique(path, "question_id", (item.question_id for item in items))
    check_unique(path, "image", (item.image for item in items))
    for number, item in enumerate(items, start=1):
        where = f"{path}, item {number}"
        question = text(where, "question", item.question)
        yield Sample(
            id=str(item.question_id),
            group=str(item.question_id),
            dataset="siuo",
            scenario=item.category,
            goal=question,
            text=question,
            images=(Image(path=str(beneath(where, pictures, item.image))),),
            expected="warn",
            reference=item.reference_answer.strip() or None,
        )

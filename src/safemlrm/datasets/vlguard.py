"""VLGuard: unsafe pictures, and safe pictures with a safe and an unsafe request each (arXiv 2402.02207)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from safemlrm.benchfiles import (
    beneath,
    check_counts,
    check_unique,
    decode_json,
    one_of,
    picture_folder,
    read_json,
    text,
)
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample

Subset = Literal["all", "unsafes", "safe_unsafes", "safe_safes"]
Split = Literal["test", "train"]

_CATEGORIES = {"risky behavior": 270, "discrimination": 85, "privacy": 69, "deception": 18}
_SUBCATEGORIES = {
    "sexually explicit": 111,
    "personal data": 69,
    "violence": 68,
    "political": 57,
    "race": 40,
    "professional advice": 34,
    "sex": 31,
    "disinformation": 18,
    "other": 14,
}
_SAFE = {"test": 558, "train": 977}
_UNSAFE = {"test": 442, "train": 1023}


class _Pair(msgspec.Struct, frozen=True):
    instruction: str | None = None
    safe_instruction: str | None = None
    unsafe_instruction: str | None = None
    response: str | None = None


class _Item(msgspec.Struct, frozen=True):
    id: str | int
    image: str
    safe: bool
    pairs: list[_Pair] = msgspec.field(name="instr-resp")
    harmful_category: str | None = None
    harmful_subcategory: str | None = None


def _published(*, subset: str, split: str, by: str) -> dict[str, int]:
    unsafes = {"unsafes": _UNSAFE["train"]}
    if split == "test":
        unsafes = dict(_SUBCATEGORIES if by == "subcategory" else _CATEGORIES)
    counts = {"safe_unsafes": _SAFE[split], "safe_safes": _SAFE[split]}
    if subset == "all":
        counts = unsafes | counts
    elif subset == "unsafes":
        counts = unsafes
    else:
        counts = {subset: counts[subset]}
    # how many rows of the training set each category has is not published
    return {"all": sum(counts.values())} if "unsafes" in counts else counts


@dataset(
    version="1",
    title="VLGuard",
    paper="arXiv 2402.02207",
    licence="none named by the authors; terms to accept on the Hub",
    source="https://huggingface.co/datasets/ys-zong/VLGuard, or https://github.com/ys-zong/VLGuard (commit a2f85c9)",
    folders=("VLGuard", "VLGuard-main", "vlguard"),
    published=_published,
    hub="ys-zong/VLGuard@b0be37a1ab7accb14e10d6a0ec3ce62cfaff2d46",
    gate="terms to accept, at once, on https://huggingface.co/datasets/ys-zong/VLGuard",
    metric="attack success rate by key words (unsafes, safe_unsafes); win rate by GPT-4V (safe_safes)",
    benign="the subset safe_safes: 558 safe requests about safe pictures",
)
def vlguard(
    folder: Path,
    *,
    subset: Subset = "all",
    split: Split = "test",
    by: Literal["category", "subcategory"] = "category",
) -> Iterator[Sample]:
    """Yield the test set's 442 `unsafes`, 558 `safe_unsafes` and 558 `safe_safes`, or one of the three.

    For `unsafes` the scenario is the authors' category (or their nine subcategories); the other two have
    none and bear the subset's name. `safe_safes` are benign: `expected="answer"`, with the published
    response as `reference`. Both requests about one picture share a `group`. The training split has 1,023,
    977 and 977, and its samples are marked `tune`. Raises `DataError` with file and item where shape or
    counts are not the published ones. Unverified: that train.json has test.json's shape; it is checked.
    """
    path = one_of(folder, (f"{split}.json", f"data/{split}.json"))
    pictures = _pictures(folder, path.parent, split)
    items = []
    for number, raw in enumerate(read_json(path, list[msgspec.Raw]), start=1):
        where = f"{path}, item {number}"
        items.append((where, decode_json(raw, _Item, where)))
    _check(path, split, [item for _, item in items])
    places = Counter(_place(item) for _, item in items)
    for name in ("unsafes", "safe_unsafes", "safe_safes"):
        if subset in ("all", name):
            for where, item in items:
                if item.safe == (name != "unsafes"):
                    place = _place(item) if places[_place(item)] == 1 else item.image
                    yield _sample(where, pictures, item, name, place if split == "test" else f"train/{place}", by)


def _pictures(folder: Path, beside: Path, split: str) -> Path:
    homes = [str(home / split) for home in (beside, beside / "VLGuard", folder, folder / "data")]
    found = picture_folder(folder, homes, (f"{split}.zip", f"data/{split}.zip"))
    # the archive may have been unpacked into a folder of its own name
    return found / split if (found / split).is_dir() else found


def _check(path: Path, split: str, items: list[_Item]) -> None:
    safe = Counter("safe" if item.safe else "unsafe" for item in items)
    check_counts(path, safe, {"safe": _SAFE[split], "unsafe": _UNSAFE[split]}, "items")
    check_unique(path, "(id, image)", ((item.id, item.image) for item in items))
    if split == "test":
        unsafe = [item for item in items if not item.safe]
        check_counts(path, Counter(str(i.harmful_category) for i in unsafe), _CATEGORIES, "items")
        check_counts(path, Counter(str(i.harmful_subcategory) for i in unsafe), _SUBCATEGORIES, "items")


def _place(item: _Item) -> str:
    """Return what names an item: ids are those of the pictures' sources, so they count within one source.

    Where even there two items have one id, which is not promised, the picture's path names them.
    """
    return f"{item.image.split('/')[0]}/{item.id}"


def _sample(where: str, pictures: Path, item: _Item, name: str, place: str, by: str) -> Sample:
    field = {"unsafes": "instruction", "safe_unsafes": "unsafe_instruction", "safe_safes": "safe_instruction"}[name]
    expected_pairs = 1 if name == "unsafes" else 2
    asked = [pair for pair in item.pairs if getattr(pair, field)]
    if len(item.pairs) != expected_pairs or len(asked) != 1:
        raise DataError(f"{where}: expected {expected_pairs} entries in 'instr-resp', one of them with {field!r}")
    request = text(where, field, getattr(asked[0], field))
    scenario = name
    if name == "unsafes":
        chosen = item.harmful_subcategory if by == "subcategory" else item.harmful_category
        scenario = text(where, f"harmful_{by}", chosen)
    return Sample(
        id=f"{place}/{name}",
        group=place,
        dataset="vlguard",
        scenario=scenario,
        goal=request,
        text=request,
        images=(Image(path=str(beneath(where, pictures, item.image))),),
        expected="answer" if name == "safe_safes" else "refuse",
        reference=(asked[0].response or None) if name == "safe_safes" else None,
        split="tune" if place.startswith("train/") else "test",
    )

"""`check`: a data set read from end to end: counts, every picture decoded, hashes; all that is wrong is listed."""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from safemlrm.errors import DataError
from safemlrm.fetch.get import receipt_of
from safemlrm.fetch.recipes import recipe_of
from safemlrm.fetch.web import hashes
from safemlrm.pictures import PictureError, media_type
from safemlrm.plugin import Plugin
from safemlrm.records import Image, Sample
from safemlrm.registry import Bound

#: Pictures held in memory at a time.
_IN_FLIGHT = 64
#: Samples per pixel by a PNG's colour type, and the last of its kinds of filter.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_FILTERS = 4


class Seen(NamedTuple):
    """One picture: its kind (`PNG`), or why it is none."""

    name: str
    kind: str | None
    trouble: str | None


@dataclass
class Checked:
    """What a data set holds, and what is wrong with it."""

    dataset: str
    folder: str
    samples: int = 0
    scenarios: Counter[str] = field(default_factory=Counter)
    published: dict[str, int] | None = None
    expected: Counter[str] = field(default_factory=Counter)
    renderings: Counter[str] = field(default_factory=Counter)
    images: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    hashed: int = 0
    revisions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check(bound: Bound, folder: Path, advance: Callable[[int], None] = lambda count: None) -> Checked:
    """Read all of a data set as a study would. `problems` is empty when everything is as published.

    Memory does not grow with the number of pictures. `advance` is told of every sample.
    """
    found = Checked(str(bound.given()), str(folder), published=_published(bound))
    ids: set[str] = set()
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool:
        waiting: deque[Future[Seen]] = deque()
        try:
            for name, image in _pictures(bound, folder, found, ids, advance):
                waiting.append(pool.submit(_decode, name, image))
                if len(waiting) >= _IN_FLIGHT:
                    _note(found, waiting.popleft().result())
        except DataError as error:
            found.problems.append(str(error))
        for future in waiting:
            _note(found, future.result())
        if not bound.plugin.folders:
            return _sum_up(found)
        _check_hashes(bound.plugin, folder, found, pool)
    return _sum_up(found)


def _published(bound: Bound) -> dict[str, int] | None:
    counts = bound.plugin.published
    return counts(**bound.params) if counts is not None else None


def _pictures(
    bound: Bound, folder: Path, found: Checked, ids: set[str], advance: Callable[[int], None]
) -> Iterator[tuple[str, Image]]:
    """Count the samples and yield each picture once: a file by its path, bytes by the sample that holds them."""
    files: set[str] = set()
    sample: Sample
    for sample in bound.plugin.function(folder, **bound.params):
        if sample.id in ids:
            raise DataError(f"the id {sample.id!r} occurs twice")
        ids.add(sample.id)
        found.samples += 1
        found.scenarios[sample.scenario] += 1
        found.expected[sample.expected] += 1
        found.renderings.update(sample.released.keys())
        images = [*sample.images, *(i for prompt in sample.released.values() for i in prompt.images())]
        for image in images:
            if image.path is None:
                yield f"sample {sample.id!r}", image
            elif image.path not in files:
                files.add(image.path)
                yield image.path, image
        advance(1)


def _decode(name: str, image: Image) -> Seen:
    """Decode the whole file: it can begin and end well and be damaged in between."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        data = image.read()
        kind = media_type(data).removeprefix("image/").upper()
        with Pillow.open(BytesIO(data)) as picture:
            # of a JPEG an eighth in grey: all its bytes are read, and half the time is saved
            picture.draft("L", (1, 1))
            if not (kind == "PNG" and _is_whole_png(data)):
                picture.load()
    except FileNotFoundError:
        return Seen(name, None, None)
    except UnidentifiedImageError:
        return Seen(name, None, "its header is no picture's")
    except (OSError, ValueError, SyntaxError, PictureError, Pillow.DecompressionBombError) as error:
        return Seen(name, None, str(error))
    return Seen(name, kind, None)


def _is_whole_png(data: bytes) -> bool:
    """Whether a PNG decodes beyond doubt: its stream is sound, and has every row behind a filter that exists.

    Undoing the filters is up to half of the work of decoding and can find nothing more. False is no verdict:
    interlaced, or to be decoded for the reason.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    row = (width * _CHANNELS.get(colour, 0) * depth + 7) // 8 + 1
    stream, at, inflate = [], 8, zlib.decompressobj()
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            stream.append(data[at + 8 : at + 8 + length])
        at += length + 12
    try:
        rows = inflate.decompress(b"".join(stream), row * height + 1)
    except zlib.error:
        return False
    return not interlaced and inflate.eof and len(rows) == row * height and max(rows[::row], default=0) <= _FILTERS


def _note(found: Checked, seen: Seen) -> None:
    found.images += 1
    if seen.trouble is not None:
        found.broken.append(f"{seen.name}: {seen.trouble}")
    elif seen.kind is None:
        found.missing.append(seen.name)
    else:
        found.kinds[seen.kind] += 1


def _check_hashes(plugin: Plugin, folder: Path, found: Checked, pool: ThreadPoolExecutor) -> None:
    """Compare files with what their authors published, and with what was fetched."""
    try:
        receipt = receipt_of(folder)
    except DataError as error:
        found.problems.append(str(error))
        receipt = None
    known = {path: sha256 for path, (_, sha256) in receipt.files.items()} if receipt else {}
    if receipt is not None:
        found.revisions = [f"{origin.repository} at {origin.revision}" for origin in receipt.origins]
    there = {path: sha256 for path, sha256 in recipe_of(plugin).hashes.items() if (folder / path).is_file()}
    for path, sha256, now in _hashed(folder, known | there, pool):
        found.hashed += 1
        if now is None:
            found.problems.append(f"{folder / path} was fetched and is gone")
        elif now != sha256:
            found.problems.append(
                f"{folder / path} is not the published file: expected SHA-256 {sha256}, got {now} "
                "(an edited copy, or one with other line ends)"
            )


def _hashed(folder: Path, files: dict[str, str], pool: ThreadPoolExecutor) -> Iterator[tuple[str, str, str | None]]:
    def one(path: str) -> str | None:
        return hashes(folder / path)[0] if (folder / path).is_file() else None

    yield from zip(files, files.values(), pool.map(one, files), strict=True)


def _sum_up(found: Checked) -> Checked:
    if found.missing:
        found.problems.append(f"{len(found.missing):,} of {found.images:,} pictures are missing")
    if found.broken:
        found.problems.append(f"{len(found.broken):,} of {found.images:,} pictures cannot be decoded")
    if not found.samples and not found.problems:
        found.problems.append("there are no samples")
    published = found.published
    if published is not None and not found.problems:
        counts = {"all": found.samples} if list(published) == ["all"] else dict(found.scenarios)
        if counts != published:
            found.problems.append(f"published are {published}, and there are {counts}")
    return found

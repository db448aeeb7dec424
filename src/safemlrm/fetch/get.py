"""`fetch`: a benchmark's files by pinned revision, checked, and put in place all at once."""

from __future__ import annotations

import fcntl
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from safemlrm.benchfiles import home_of
from safemlrm.errors import DataError
from safemlrm.fetch.recipes import Part, Recipe
from safemlrm.fetch.unpack import Filed, Pick, Refused, unpack
from safemlrm.fetch.web import Endpoints, Unavailable, Wanted, ask_json, download, hashes
from safemlrm.plugin import Plugin

#: In the benchmark's own folder: where its files came from, and their hashes.
RECEIPT = ".safemlrm.json"
_AT_ONCE = 4


class Meter(Protocol):
    """What a progress bar is told; called from several threads."""

    def expect(self, count: int) -> None:
        """So many bytes are to come, besides those expected before."""

    def advance(self, count: int) -> None:
        """So many bytes came."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """One part's repository and the commit that was read."""

    repository: str
    revision: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was fetched, when and from where: `files` is path -> (bytes, SHA-256)."""

    dataset: str
    fetched: str
    origins: tuple[Origin, ...]
    files: dict[str, tuple[int, str]]


def present(plugin: Plugin, data: Path | None) -> Path | None:
    """Return the folder of a benchmark if it is there, embedded ones excepted."""
    return home_of(data, plugin) if data is not None and plugin.folders else None


def receipt_of(folder: Path) -> Receipt | None:
    """Return what `fetch` wrote beside the files; None for a folder that was placed by hand."""
    try:
        return msgspec.json.decode((folder / RECEIPT).read_bytes(), type=Receipt)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DataError(f"{folder / RECEIPT}: {error}") from error


def fetch(
    plugin: Plugin, recipe: Recipe, data: Path, meter: Meter, endpoints: Endpoints, **patience: Callable[[float], None]
) -> Path:
    """Bring a benchmark's files to `data` and return their folder.

    Everything is gathered beside the place (`.NAME.partial`, from where a broken download goes on) and moved
    there at the end, so that what lies in place is whole. Raises `DataError` that says what to do by hand.
    """
    home = data / plugin.folders[0]
    if not recipe.parts:
        raise DataError(f"{plugin.name} cannot be fetched by a program. {by_hand(plugin, recipe, home)}")
    partial = data / f".{home.name}.partial"
    with _alone(data, partial):
        files: list[Filed] = []
        origins = []
        for part in recipe.parts:
            try:
                revision, found = _part(part, partial, meter, endpoints, patience)
            except Unavailable as error:
                raise Unavailable(error.reason, _way_out(error, part, plugin, recipe, home, endpoints)) from error
            files += found
            _once(part, files)
            origins.append(Origin(repository=part.page, revision=revision))
        _known(recipe, files, partial)
        receipt = Receipt(
            dataset=plugin.name,
            fetched=datetime.now(UTC).isoformat(timespec="seconds"),
            origins=tuple(origins),
            files={file.path: (file.size, file.sha256) for file in files},
        )
        tree = partial / "files"
        _sweep(tree, set(receipt.files))
        (tree / RECEIPT).write_bytes(msgspec.json.format(msgspec.json.encode(receipt), indent=1))
        if home.exists():
            raise DataError(f"{home} appeared meanwhile; what was fetched is in {tree}")
        tree.rename(home)
        shutil.rmtree(partial)
    return home


@contextmanager
def _alone(data: Path, partial: Path) -> Iterator[None]:
    """Hold the place of the download: two processes would write into one file. A place that cannot be written to
    is a `DataError`."""
    try:
        (partial / "files").mkdir(parents=True, exist_ok=True)
        with (data / f"{partial.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DataError(f"another process is fetching into {partial}") from error
            try:
                yield
            finally:
                Path(lock.name).unlink(missing_ok=True)
                if partial.exists() and not any(entry.is_file() for entry in partial.rglob("*")):
                    shutil.rmtree(partial)
    except OSError as error:
        raise DataError(f"{error.filename or partial} cannot be written: {error.strerror or error}") from error


def _part(
    part: Part, partial: Path, meter: Meter, endpoints: Endpoints, patience: dict[str, Callable[[float], None]]
) -> tuple[str, list[Filed]]:
    if part.hub is not None:
        return _hub(part, partial, meter, endpoints, patience)
    into = partial / "files" / part.into
    revision = str(part.revision)
    if part.github is not None:
        archive = partial / f"{part.github.replace('/', '-')}.zip"
        wanted = Wanted(f"{endpoints.archives}/{part.github}/zip/{revision}")
        if not archive.exists():
            download(wanted, archive, advance=meter.advance, expect=meter.expect, **patience)
        return revision, _unpacked(archive, into, Pick(part.include, part.exclude, strip=1), part.into, revision)
    found = []
    for name in part.include:
        url = f"{endpoints.raw}/{part.raw}/{revision}/{quote(name)}"
        sha256 = download(Wanted(url), into / name, advance=meter.advance, expect=meter.expect, **patience)
        found.append(Filed(_below(part.into, name), (into / name).stat().st_size, sha256))
    return revision, found


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _unpacked(archive: Path, into: Path, pick: Pick, below: str, comment: str | None = None) -> list[Filed]:
    """Unpack an archive. One that is refused is removed; a good one stays until everything is in place, so that it
    need not come twice when the disk is full or the process is stopped."""
    try:
        return [file._replace(path=_below(below, file.path)) for file in unpack(archive, into, pick, comment=comment)]
    except Refused:
        archive.unlink()
        raise


def _hub(
    part: Part, partial: Path, meter: Meter, endpoints: Endpoints, patience: dict[str, Callable[[float], None]]
) -> tuple[str, list[Filed]]:
    """Fetch the wanted files of a Hub repository; the Hub itself says their sizes and hashes at that commit."""
    asked = f"{endpoints.hub}/api/datasets/{part.hub}/revision/{part.revision or 'main'}?blobs=true"
    listing = ask_json(asked, endpoints.token, **patience)
    revision, wanted = _listed(part, listing, endpoints)
    total, free = sum(file.size or 0 for file in wanted.values()), shutil.disk_usage(partial).free
    if total > free:
        raise DataError(f"{part.page} has {total:,} bytes, and {partial.parent} has {free:,} left")
    meter.expect(total)
    into = partial / "files" / part.into
    broken = Event()

    def advance(count: int) -> None:
        if broken.is_set():
            raise Unavailable("broken", "another file could not be had")
        meter.advance(count)

    def bring(item: tuple[str, Wanted]) -> Filed:
        name, file = item
        to = into / name
        if (sha256 := _here(file, to)) is not None:
            meter.advance(to.stat().st_size)
            return Filed(_below(part.into, name), to.stat().st_size, sha256)
        sha256 = download(file, to, advance=advance, **patience)
        return Filed(_below(part.into, name), to.stat().st_size, sha256)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            found = list(pool.map(bring, wanted.items()))
        except BaseException:
            # Ctrl-C, or a file that cannot be had: the other downloads stop at their next block and stay resumable
            broken.set()
            raise
    for name in part.unpack:
        folder = "/".join((part.into, *Path(name).parts[:-1])).strip("/")
        found = [file for file in found if file.path != _below(part.into, name)]
        found += _unpacked(into / name, (into / name).parent, Pick(), folder)
    return revision, found


def _here(file: Wanted, to: Path) -> str | None:
    """Return the SHA-256 of a file that an earlier, broken run brought whole; None where it must be fetched."""
    if not to.is_file():
        return None
    sha256, blob = hashes(to)
    return sha256 if sha256 == file.sha256 or (file.blob is not None and blob == file.blob) else None


def _listed(part: Part, listing: Any, endpoints: Endpoints) -> tuple[str, dict[str, Wanted]]:
    try:
        revision = str(listing["sha"])
        pick = Pick(part.include, part.exclude)
        wanted = {}
        for entry in listing["siblings"]:
            name, lfs = str(entry["rfilename"]), entry.get("lfs") or {}
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise DataError(f"{part.page} lists a file {name!r} that leads out of the folder")
            if not pick.takes(name) or name in (".gitattributes", RECEIPT):
                continue
            url = f"{endpoints.hub}/datasets/{part.hub}/resolve/{revision}/{quote(name)}"
            blob = None if lfs else entry.get("blobId")
            wanted[name] = Wanted(url, entry.get("size"), lfs.get("sha256"), blob, endpoints.token)
    except (KeyError, TypeError, AttributeError) as error:
        raise Unavailable("broken", f"{part.page} answers without a list of files ({error!r})") from error
    if missing := [name for name in part.unpack if name not in wanted]:
        raise Unavailable("gone", f"{part.page} has no file {missing[0]!r} at {revision[:12]}")
    if not wanted:
        raise Unavailable("gone", f"{part.page} has none of {', '.join(part.include)} at {revision[:12]}")
    return revision, wanted


def _once(part: Part, files: list[Filed]) -> None:
    """Raise `DataError` where a file of this part stands in the place of another one."""
    path, times = Counter(file.path for file in files).most_common(1)[0]
    if times > 1:
        raise DataError(f"{part.page}: {path!r} is published twice, in an archive and beside it; nothing was kept")


def _sweep(tree: Path, files: set[str]) -> None:
    """Remove archives that were unpacked, and what an earlier, broken run left of another commit."""
    for path in tree.rglob("*"):
        if path.is_file() and path.relative_to(tree).as_posix() not in files:
            path.unlink()


def _known(recipe: Recipe, files: list[Filed], partial: Path) -> None:
    """Compare with the hashes on record. Raises `DataError`, and removes everything, at the first that differs."""
    found = {file.path: file.sha256 for file in files}
    for path, sha256 in recipe.hashes.items():
        if found.get(path) != sha256:
            shutil.rmtree(partial)
            state = f"has SHA-256 {found[path]}" if path in found else "is not there"
            raise DataError(f"{path} {state}; its authors published {sha256}. Nothing was kept.")


def by_hand(plugin: Plugin, recipe: Recipe, home: Path) -> str:
    """Return what a person can do instead."""
    if recipe.by_hand:
        return f"{recipe.by_hand} It belongs in {home}. Then: safemlrm data check {plugin.name}"
    return f"Get it from {plugin.source} and place it in {home}. Then: safemlrm data check {plugin.name}"


def _way_out(error: Unavailable, part: Part, plugin: Plugin, recipe: Recipe, home: Path, endpoints: Endpoints) -> str:
    if error.reason == "denied" and part.hub is not None:
        token = "Your token was refused" if endpoints.token else "No token is set"
        return (
            f"{plugin.name}: {error}. {token}. Open {part.page} in a browser, log in and accept the terms; make a "
            "read token at https://huggingface.co/settings/tokens, export it as HF_TOKEN, and repeat the command."
        )
    if error.reason == "unreachable":
        parts = "; ".join(_in_words(p) for p in recipe.parts)
        return (
            f"{plugin.name}: the network cannot be reached ({error}). By hand, on a machine that has it: {parts}. "
            f"Place the files in {home}, then: safemlrm data check {plugin.name}"
        )
    if error.reason == "gone":
        return f"{plugin.name}: {error}. Its authors may have moved it: {plugin.source}"
    return f"{plugin.name}: {error}"


def _in_words(part: Part) -> str:
    files = "all files" if part.include == ("*",) else ", ".join(part.include)
    unpacked = f", unpack {', '.join(part.unpack)}" if part.unpack else ""
    return f"{files} of {part.page} at {part.revision or 'its newest commit'}{unpacked}"

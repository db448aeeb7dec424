"""Archives are unpacked without trusting them: no path leaves the folder, no link, no bomb."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from safemlrm.errors import DataError

_BLOCK = 1 << 20
#: Pictures hardly shrink and JSON shrinks tenfold: an archive that grows a hundredfold is a bomb.
_GROWTH = 100
_ALWAYS_FINE = 64 * 2**20
_MOST_MEMBERS = 1_000_000


#: How the archive formats say that a file is damaged, or packed in a way that cannot be read.
_DAMAGED = zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError


class Refused(DataError):
    """The archive is damaged, or not to be trusted: it must come anew."""


class Member(NamedTuple):
    """One file of an archive: its path inside, the size it declares, and how to open it."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


class Filed(NamedTuple):
    """A file that was written: its path under the folder, its size and SHA-256."""

    path: str
    size: int
    sha256: str


class Pick(NamedTuple):
    """Which members are wanted (`*` also matches `/`), and how many leading folders are dropped."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    strip: int = 0

    def takes(self, path: str) -> bool:
        """Whether a path, already stripped, is wanted."""
        matches = any(fnmatchcase(path, pattern) for pattern in self.include)
        return matches and not any(fnmatchcase(path, pattern) for pattern in self.exclude)


def unpack(archive: Path, into: Path, pick: Pick | None = None, *, comment: str | None = None) -> list[Filed]:
    """Write the wanted files of a zip or tar under `into`. Raises `Refused` before the first file is written
    when a member's path leaves the folder, is a link or a device, occurs twice, or the whole is a bomb; and
    `DataError` where there is no room.

    `comment` is how the zip's comment must begin: GitHub puts the commit there.
    """
    chosen = pick or Pick()
    try:
        with _opened(archive, comment) as members:
            wanted = _wanted(archive, members, chosen)
            _fits(archive, into, wanted)
            return [_write(archive, member, path, into) for path, member in wanted.items()]
    except _DAMAGED as error:
        raise Refused(f"{archive.name} cannot be unpacked: {error}") from error
    except OSError as error:
        # one without a number is a decoder's, about the archive; the others are the disk's
        kind = Refused if error.errno is None else DataError
        raise kind(f"{archive.name} cannot be unpacked: {error}") from error


@contextmanager
def _opened(archive: Path, comment: str | None) -> Iterator[Iterator[Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            if comment is not None and not packed.comment.decode("ascii", "replace").startswith(comment):
                raise Refused(f"{archive.name} is not the archive of commit {comment}: {packed.comment[:60]!r}")
            yield _zipped(archive, packed)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as taped:
            yield _taped(archive, taped)
    else:
        raise Refused(f"{archive.name} cannot be unpacked: it is neither a zip nor a tar")


def _zipped(archive: Path, packed: zipfile.ZipFile) -> Iterator[Member]:
    for info in packed.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            continue
        if kind not in (0, stat.S_IFREG):
            raise Refused(f"{archive.name}: {info.filename!r} is a link or a device; nothing was unpacked")
        # orig_filename: zipfile cuts a name at a NUL byte
        yield Member(_path(archive, info.orig_filename), info.file_size, lambda info=info: packed.open(info))  # type: ignore[misc]


def _taped(archive: Path, taped: tarfile.TarFile) -> Iterator[Member]:
    for info in taped:
        if info.isdir():
            continue
        if not info.isreg():
            raise Refused(f"{archive.name}: {info.name!r} is a link or a device; nothing was unpacked")
        yield Member(_path(archive, info.name), info.size, lambda info=info: taped.extractfile(info))  # type: ignore[misc, arg-type]


def _path(archive: Path, name: str) -> PurePosixPath:
    """Return a member's path. Raises `DataError` when it could lead anywhere but below the folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or any(c in name for c in "\\\0:"):
        raise Refused(f"{archive.name}: the path {name[:100]!r} leads out of the folder; nothing was unpacked")
    return path


def _wanted(archive: Path, members: Iterator[Member], pick: Pick) -> dict[str, Member]:
    wanted: dict[str, Member] = {}
    size, total = archive.stat().st_size, 0
    for number, member in enumerate(members, start=1):
        if number > _MOST_MEMBERS:
            raise Refused(f"{archive.name} holds more than {_MOST_MEMBERS:,} files; nothing was unpacked")
        # at once, because a tar is unpacked to find the next member
        if (total := total + member.size) > max(_ALWAYS_FINE, _GROWTH * size):
            raise Refused(
                f"{archive.name} is a bomb: {size:,} bytes that claim to unpack to {total:,} or more; "
                "nothing was unpacked"
            )
        path = "/".join(member.path.parts[pick.strip :])
        if not path or not pick.takes(path):
            continue
        if path in wanted:
            raise Refused(f"{archive.name}: {path!r} occurs twice; nothing was unpacked")
        wanted[path] = member
    folders = {folder.as_posix() for path in wanted for folder in PurePosixPath(path).parents}
    if clash := sorted(folders & wanted.keys()):
        raise Refused(f"{archive.name}: {clash[0]!r} is a file and a folder; nothing was unpacked")
    if not wanted:
        raise Refused(f"{archive.name} holds none of {', '.join(pick.include)}")
    return wanted


def _fits(archive: Path, into: Path, wanted: dict[str, Member]) -> None:
    total = sum(member.size for member in wanted.values())
    into.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(into).free
    if total > free:
        raise DataError(f"{archive.name} unpacks to {total:,} bytes, and {into} has {free:,} left")


def _write(archive: Path, member: Member, path: str, into: Path) -> Filed:
    """Write one member, and no more than it declared."""
    to = into / path
    to.parent.mkdir(parents=True, exist_ok=True)
    sha256, size = hashlib.sha256(), 0
    with member.open() as source, to.open("wb") as file:
        while block := source.read(_BLOCK):
            size += len(block)
            if size > member.size:
                raise Refused(f"{archive.name}: {path!r} is larger than it says")
            sha256.update(block)
            file.write(block)
    if size != member.size:
        raise Refused(f"{archive.name}: {path!r} ends after {size:,} of {member.size:,} bytes")
    return Filed(path, size, sha256.hexdigest())

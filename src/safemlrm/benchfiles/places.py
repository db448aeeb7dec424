"""Where the files of a benchmark lie: its folder, alternative placements, the parts of a parquet split."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from safemlrm.errors import DataError
from safemlrm.plugin import Plugin

#: `test-00000-of-00007.parquet`, as the Hub numbers the parts of a split; older uploads end in a hash
_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<of>\d{5})(?:-[0-9a-f]+)?$")
#: What GitHub's archives add to the name of a repository: a branch or a commit.
_BRANCH = re.compile(r"[-_](?:main|master|[0-9a-f]{7,40})$", re.IGNORECASE)
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz")
#: How many folders deep a file is looked for where it is in none of its usual places.
_DEPTH = 5


def locate(data_dir: Path | None, plugin: Plugin) -> Path:
    """Return the folder of a benchmark: one of its names under `data_dir`, or `data_dir` itself if so named.

    Upper and lower case, punctuation, `-main`, a commit or the owner in front do not matter (`FigStep-main`,
    `holisafe_bench`, `datasets--Paul--XSTest`); an archive's own folder inside it and the snapshot of a Hub
    cache are gone through. An embedded data set has no folder and gets `Path()`. Raises `DataError` that says
    what was looked for, where, and where the authors publish it.
    """
    if not plugin.folders:
        return Path()
    wanted = " or ".join(plugin.folders)
    way_out = f"Get it from {plugin.source} ({plugin.licence}), or let `safemlrm data get {plugin.name}` do it."
    if data_dir is None:
        raise DataError(
            f"data set {plugin.name!r} is read from a folder {wanted}: "
            f"say where with --data DIR or SAFEMLRM_DATA. {way_out}"
        )
    found = home_of(data_dir, plugin)
    if found is None:
        raise DataError(f"data set {plugin.name!r}: no folder {wanted} in {data_dir} ({contents(data_dir)}). {way_out}")
    return _within(found, plugin)


def home_of(data_dir: Path, plugin: Plugin) -> Path | None:
    """Return the folder under `data_dir` that bears a name of the benchmark, or `data_dir` itself; None for none."""
    repository = plugin.hub.partition("@")[0]
    exact = [data_dir / name for name in (*plugin.folders, *filter(None, [repository]))]
    if found := next((folder for folder in exact if folder.is_dir()), None):
        return found
    if not data_dir.is_dir():
        return None
    alike = sorted(folder for folder in data_dir.iterdir() if folder.is_dir() and _answers(folder.name, plugin))
    if len(alike) > 1:
        names = ", ".join(folder.name for folder in alike)
        raise DataError(f"data set {plugin.name!r}: {names} in {data_dir} may all be it; keep one of them there")
    if alike:
        return alike[0]
    return data_dir if _answers(data_dir.resolve().name, plugin) else None


def _answers(name: str, plugin: Plugin) -> bool:
    """Whether a folder's name is one of the benchmark's, however it is written."""
    bare = _BRANCH.sub("", re.split(r"--|__", name)[-1])
    return _letters(bare) in {_letters(folder) for folder in (plugin.name, *plugin.folders)}


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _within(folder: Path, plugin: Plugin) -> Path:
    """Return the folder inside that holds the files: a Hub cache's snapshot, or the top folder of an archive."""
    snapshots = sorted(path for path in folder.glob("snapshots/*") if path.is_dir())
    if snapshots:
        reference = folder / "refs" / "main"
        current = folder / "snapshots" / (reference.read_text().strip() if reference.is_file() else "-")
        if current not in snapshots and len(snapshots) > 1:
            names = ", ".join(path.name for path in snapshots)
            raise DataError(f"{folder}: several snapshots ({names}), and refs/main names none of them; keep one")
        return current if current in snapshots else snapshots[0]
    inside = [path for path in folder.iterdir() if path.suffix not in _ARCHIVES]
    visible = [path for path in inside if path.name not in ("__MACOSX", ".DS_Store")]
    if len(visible) == 1 and visible[0].is_dir() and _answers(visible[0].name, plugin):
        return visible[0]
    return folder


def first_existing(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of these paths under `folder` that exists."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def one_of(folder: Path, names: Sequence[str], *, anywhere: bool = True) -> Path:
    """Return the first of these files under `folder` that exists, else the only file of such a name beneath it.

    `anywhere=False` is for names that mean nothing without their folder. Raises `DataError` that lists what
    was looked for and what is there.
    """
    if found := first_existing(folder, names) or (elsewhere(folder, names) if anywhere else None):
        return found
    raise DataError(f"{folder}: none of {', '.join(names)} is there ({contents(folder)})")


def elsewhere(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the only file beneath `folder` that bears one of these file names, wherever it was put; None for none.

    The names are tried in their order. Raises `DataError` where there are several files of one name.
    """
    for name in dict.fromkeys(Path(name).name for name in names):
        found = sorted(path for path in _beneath(folder) if path.name == name)
        if len(found) > 1:
            places = ", ".join(str(path.relative_to(folder)) for path in found[:4])
            raise DataError(f"{folder}: {len(found)} files {name}: {places}. Move all but the right one away")
        if found:
            return found[0]
    return None


def _beneath(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        depth = len(Path(root).relative_to(folder).parts)
        folders[:] = [] if depth >= _DEPTH else [name for name in folders if not name.startswith((".", "__"))]
        yield from (Path(root) / name for name in files)


def contents(folder: Path) -> str:
    """Say what a folder holds, for a message: the first names in it, and how many more there are."""
    if not folder.is_dir():
        return "it is no folder"
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
    if not names:
        return "it is empty"
    more = f" and {len(names) - 6:,} more" if len(names) > 6 else ""
    return f"it holds {', '.join(names[:6])}{more}"


def picture_folder(folder: Path, names: Sequence[str], archives: Sequence[str] = ()) -> Path:
    """Return the first of these folders of pictures, or the first name when none is there yet.

    Pictures that are missing are found, and counted, when a study is planned. Raises `DataError` where one
    of `archives` is there instead, still packed.
    """
    found = next((folder / name for name in names if (folder / name).is_dir()), None)
    packed = first_existing(folder, archives)
    if found is None and packed is not None:
        raise DataError(f"{packed}: the pictures are still packed; unpack it in {packed.parent}")
    return found or folder / names[0]


def beneath(where: str, home: Path, relative: str) -> Path:
    """Return the file that a table names relative to `home`. Raises `DataError` for a name that leads out of it."""
    parts = relative.replace("\\", "/").split("/")
    if not relative.strip() or relative.startswith(("/", "~")) or ".." in parts or ":" in parts[0]:
        raise DataError(f"{where}: {relative!r} is no file name inside {home}")
    return home.joinpath(*parts)


def parquet_parts(folder: Path, split: str, config: str = "default") -> list[Path]:
    """Return the parquet files of one split, in order; none where the split is not there as parquet.

    Looks where the Hub and its copies put them: `data/SPLIT-*.parquet`, `CONFIG/SPLIT-*.parquet`,
    `CONFIG/SPLIT/*.parquet`, `SPLIT.parquet`. Raises `DataError` where a numbered part is missing, or where
    parts of two revisions lie together.
    """
    for home in (f"data/{config}", config, "data", "."):
        for pattern in (f"{split}-*.parquet", f"{split}/*.parquet", f"{split}.parquet"):
            if found := sorted((folder / home).glob(pattern)):
                return _complete(found)
    return []


def _complete(files: list[Path]) -> list[Path]:
    numbered = [match for path in files if (match := _PART.match(path.stem))]
    if numbered:
        of = int(numbered[0]["of"])
        there = sorted(int(match["number"]) for match in numbered)
        if missing := sorted(set(range(of)) - set(there)):
            raise DataError(
                f"{files[0].parent}: part {missing[0]:05} of {of} of {numbered[0]['stem']!r} is missing "
                f"({len(there)} of {of} parquet files are there)"
            )
        if there != list(range(of)):
            raise DataError(
                f"{files[0].parent}: {len(there)} parquet files of {numbered[0]['stem']!r}, expected {of}: "
                "two revisions lie together"
            )
    return files

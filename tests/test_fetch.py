"""Fetching: real HTTP on loopback; what is in place is whole, and every way of failing says what to do."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import socket
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from safemlrm.cli import run
from safemlrm.errors import DataError
from safemlrm.fetch import Endpoints, Recipe, Unavailable, check, fetch, recipe_of, recipes
from safemlrm.fetch import web as fetching
from safemlrm.fetch.get import RECEIPT, receipt_of
from safemlrm.fetch.recipes import Part, read
from safemlrm.fetch.unpack import Pick, Refused, unpack
from safemlrm.fetch.web import Wanted, _NoDowngrade, download
from safemlrm.plugin import Plugin
from safemlrm.registry import Bound, find, names

COMMIT = "c" * 40
TEXT = b"[placeholder bytes] " * 5000


class Web:
    """Files on loopback; `cut` breaks a connection after so many bytes, `status` answers with an error."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.status: dict[str, int] = {}
        self.moved: dict[str, str] = {}
        self.codes: dict[str, str] = {}
        self.ranges = True
        self.asked: list[tuple[str, str | None, str | None]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.answer(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        wanted = call.headers.get("Range")
        path = unquote(call.path)
        self.asked.append((path, wanted, call.headers.get("Authorization")))
        if path in self.moved:
            call.send_response(302)
            call.send_header("Location", self.moved[path])
            call.end_headers()
            return
        if path in self.status or path not in self.files:
            call.send_response(self.status.get(path, 404))
            if path in self.codes:
                call.send_header("X-Error-Code", self.codes[path])
            call.end_headers()
            return
        data = self.files[path]
        wanted = wanted if self.ranges else None
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if begin >= len(data) > 0:
            call.send_error(416)
            return
        call.send_response(206 if wanted else 200)
        call.send_header("Content-Length", str(len(data) - begin))
        call.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        call.end_headers()
        call.wfile.write(data[begin : begin + self.cut.pop(path, len(data))])

    def endpoints(self, token: str | None = None) -> Endpoints:
        return Endpoints(self.url, self.url + "/archives", self.url + "/raw", token)

    def hub(self, files: dict[str, bytes], name: str = "a/b", revision: str = "main") -> None:
        siblings = []
        for path, data in files.items():
            lfs = {"lfs": {"sha256": hashlib.sha256(data).hexdigest()}} if path.endswith(".parquet") else {}
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            siblings.append({"rfilename": path, "size": len(data), "blobId": blob} | lfs)
            self.files[f"/datasets/{name}/resolve/{COMMIT}/{path}"] = data
        listing = {"sha": COMMIT, "siblings": siblings}
        self.files[f"/api/datasets/{name}/revision/{revision}?blobs=true"] = json.dumps(listing).encode()


class Bar:
    def __init__(self) -> None:
        self.expected = self.came = 0

    def expect(self, count: int) -> None:
        self.expected += count

    def advance(self, count: int) -> None:
        self.came += count


@pytest.fixture
def web() -> Iterator[Web]:
    running = Web()
    yield running
    running.server.shutdown()
    running.server.server_close()


def _never(seconds: float) -> None:
    """Tests do not wait between two tries."""


def _plugin() -> Plugin:
    return Plugin(
        kind="dataset", name="mine", version="1", title="Placeholders", function=lambda folder: iter(()),
        folders=("Mine",), source="https://example.org/mine", licence="CC0",
    )  # fmt: skip


def _fetch(web: Web, data: Path, *parts: Part, token: str | None = None, **more: Any) -> Path:
    return fetch(_plugin(), Recipe(parts=parts, **more), data, Bar(), web.endpoints(token), pause=_never)


def _zip(files: dict[str, bytes], comment: bytes = b"") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.comment = comment
    return packed.getvalue()


def test_a_broken_download_goes_on_where_it_stopped(web: Web, tmp_path: Path) -> None:
    web.files["/f"], web.cut["/f"] = TEXT, 30_000
    sha256 = hashlib.sha256(TEXT).hexdigest()
    assert download(Wanted(web.url + "/f", sha256=sha256), tmp_path / "f", pause=_never) == sha256
    assert (tmp_path / "f").read_bytes() == TEXT
    assert [wanted for _, wanted, _ in web.asked] == [None, "bytes=30000-"]
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_server_without_ranges_is_read_from_the_start(web: Web, tmp_path: Path) -> None:
    web.files["/f"], web.cut["/f"], web.ranges = TEXT, 30_000, False
    download(Wanted(web.url + "/f"), tmp_path / "f", pause=_never)
    assert (tmp_path / "f").read_bytes() == TEXT


def test_a_meter_learns_the_size_from_the_server_and_counts_no_byte_twice(web: Web, tmp_path: Path) -> None:
    for name, ranges in (("f", True), ("g", False)):
        bar = Bar()
        web.files[f"/{name}"], web.cut[f"/{name}"], web.ranges = TEXT, 30_000, ranges
        download(Wanted(f"{web.url}/{name}"), tmp_path / name, advance=bar.advance, expect=bar.expect, pause=_never)
        assert (bar.came, bar.expected) == (len(TEXT), len(TEXT))


def test_a_full_disk_is_told_as_such_and_not_tried_again(web: Web, tmp_path: Path) -> None:
    web.files["/f"] = TEXT
    (tmp_path / "f.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"f\.part cannot be written: No space left on device"):
        download(Wanted(web.url + "/f"), tmp_path / "f", pause=_never)
    assert len(web.asked) == 1


def test_nobody_there_is_told_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    with pytest.raises(Unavailable, match="refused"):
        download(Wanted("http://127.0.0.1:9/f"), tmp_path / "f", pause=waits.append)
    assert waits == [2.0]
    monkeypatch.setattr(fetching, "_CONNECT", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, ExitStack() as held:
        # its queue is full: like a firewall, it drops whoever asks for a connection
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        with pytest.raises(Unavailable, match="timed out"):
            download(Wanted(f"http://127.0.0.1:{silent.getsockname()[1]}/f"), tmp_path / "f", pause=waits.append)
    assert waits == [2.0]


@pytest.mark.parametrize(("token", "found"), [(" hf_placeholder\n", "hf_placeholder"), ("", None), ("\n", None)])
def test_a_token_is_taken_without_the_blanks_around_it(
    monkeypatch: pytest.MonkeyPatch, token: str, found: str | None
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert Endpoints.here().token == found


@pytest.mark.parametrize("token", ["hf_place\nholder", "hf_place holder", "hf_plåceholder"])
def test_a_token_that_no_server_takes_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DataError, match="HF_TOKEN holds a character") as caught:
        Endpoints.here()
    assert "hf_pl" not in str(caught.value)


@pytest.mark.parametrize("address", ["huggingface.co", "file:///etc", "https://user:placeholder@mirror.example"])
def test_an_endpoint_that_is_no_address_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(DataError, match="HF_ENDPOINT is no address like") as caught:
        Endpoints.here()
    assert "placeholder" not in str(caught.value)


def test_a_redirect_to_an_open_address_is_not_followed() -> None:
    request = urllib.request.Request("https://hub.example/f")
    with pytest.raises(Unavailable, match="unencrypted"):
        _NoDowngrade().redirect_request(request, None, 302, "Found", {}, "http://storage.example/f")


def test_nothing_of_an_older_commit_is_left_among_the_files(web: Web, tmp_path: Path) -> None:
    old = tmp_path / ".Mine.partial" / "files"
    old.mkdir(parents=True)
    (old / "gone.json").write_text("[placeholder of an older commit]")
    (old / "one.json").write_text("[another placeholder]")
    web.hub({"one.json": b"{}"})
    home = _fetch(web, tmp_path, Part(hub="a/b"))
    assert sorted(p.name for p in home.iterdir()) == [RECEIPT, "one.json"]
    assert (home / "one.json").read_bytes() == b"{}"


def test_a_place_that_cannot_be_written_to_is_told(web: Web, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match=r"data.* cannot be written: Not a directory"):
        _fetch(web, tmp_path / "data", Part(hub="a/b"))


def test_two_processes_do_not_write_into_one_download(web: Web, tmp_path: Path) -> None:
    with (tmp_path / ".Mine.partial.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is fetching"):
            _fetch(web, tmp_path, Part(hub="a/b"))


def test_a_repository_that_is_gone_is_not_called_gated(web: Web, tmp_path: Path) -> None:
    asked = "/api/datasets/a/b/revision/main?blobs=true"
    web.status[asked], web.codes[asked] = 401, "RepoNotFound"
    with pytest.raises(Unavailable, match="may have moved it"):
        _fetch(web, tmp_path, Part(hub="a/b"))


def test_a_later_process_goes_on_too_and_never_mixes_two_versions(web: Web, tmp_path: Path) -> None:
    web.files["/f"] = TEXT
    (tmp_path / "f.part").write_bytes(TEXT[:100])
    download(Wanted(web.url + "/f", sha256=hashlib.sha256(TEXT).hexdigest()), tmp_path / "f", pause=_never)
    assert web.asked[-1][1] == "bytes=100-"
    (tmp_path / "g.part").write_bytes(b"other bytes whose origin nobody knows")
    download(Wanted(web.url + "/f"), tmp_path / "g", pause=_never)
    assert web.asked[-1][1] is None
    assert (tmp_path / "g").read_bytes() == TEXT


def test_a_file_with_another_hash_is_refused_and_removed(web: Web, tmp_path: Path) -> None:
    web.files["/f"] = TEXT
    with pytest.raises(Unavailable, match=r"not the published file and was removed: expected SHA-256 0000"):
        download(Wanted(web.url + "/f", sha256="0" * 64), tmp_path / "f", pause=_never)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_server_is_asked_again(web: Web, tmp_path: Path, status: int) -> None:
    web.files["/f"], web.status["/f"] = TEXT, status
    waits: list[float] = []

    def recover(seconds: float) -> None:
        waits.append(seconds)
        web.status.clear()

    download(Wanted(web.url + "/f"), tmp_path / "f", pause=recover)
    assert waits == [2.0]


def test_a_hub_data_set_lands_whole_with_its_receipt(web: Web, tmp_path: Path) -> None:
    web.hub({"data/x.parquet": TEXT, "notes/a b.json": b"{}", ".gitattributes": b"", "skip/me": b"1"})
    home = _fetch(web, tmp_path, Part(hub="a/b", exclude=("skip/*",)))
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        f"Mine/{RECEIPT}", "Mine/data/x.parquet", "Mine/notes/a b.json",
    ]  # fmt: skip
    receipt = receipt_of(home)
    assert receipt is not None
    assert [o.revision for o in receipt.origins] == [COMMIT]
    assert receipt.files["data/x.parquet"] == (len(TEXT), hashlib.sha256(TEXT).hexdigest())


def test_the_place_stays_empty_until_everything_is_there_and_nothing_is_fetched_twice(web: Web, tmp_path: Path) -> None:
    web.hub({"one.parquet": TEXT, "two.json": b"{}"})
    parts = [Part(hub="a/b", include=(name,)) for name in ("one.parquet", "two.json")]
    there = f"/datasets/a/b/resolve/{COMMIT}/"
    web.status[there + "two.json"] = 410
    with pytest.raises(Unavailable, match=r"may have moved it: https://example\.org/mine"):
        _fetch(web, tmp_path, *parts)
    assert not (tmp_path / "Mine").exists()
    web.status.clear()
    web.asked.clear()
    _fetch(web, tmp_path, *parts)
    assert there + "one.parquet" not in [path for path, _, _ in web.asked]
    assert (tmp_path / "Mine" / "one.parquet").read_bytes() == TEXT


@pytest.mark.parametrize("name", ["one.parquet", "two.json"])
def test_a_corrupted_file_of_the_hub_is_never_in_place(web: Web, tmp_path: Path, name: str) -> None:
    web.hub({"one.parquet": TEXT, "two.json": b"{}"})
    path = f"/datasets/a/b/resolve/{COMMIT}/{name}"
    web.files[path] = bytes(len(web.files[path]))
    with pytest.raises(Unavailable, match="not the published file"):
        _fetch(web, tmp_path, Part(hub="a/b"))
    assert not (tmp_path / "Mine").exists()
    assert not list(tmp_path.rglob(name + "*"))


def test_archives_of_the_hub_are_unpacked_and_dropped(web: Web, tmp_path: Path) -> None:
    web.hub({"sub/pictures.zip": _zip({"p/1.png": b"1", "p/2.png": b"2"}), "t.json": b"{}"})
    home = _fetch(web, tmp_path, Part(hub="a/b", unpack=("sub/pictures.zip",)))
    receipt = receipt_of(home)
    assert receipt is not None and sorted(receipt.files) == ["sub/p/1.png", "sub/p/2.png", "t.json"]
    assert not (home / "sub" / "pictures.zip").exists()


def test_an_archive_need_not_come_twice_when_there_was_no_place_for_its_files(web: Web, tmp_path: Path) -> None:
    part = Part(github="o/repo", revision=COMMIT)
    web.files[f"/archives/o/repo/zip/{COMMIT}"] = _zip({"repo-x/data/a.csv": b"a"}, COMMIT.encode())
    blocked = tmp_path / ".Mine.partial" / "files" / "data"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("[a file in the way]")
    with pytest.raises(DataError, match="cannot be unpacked"):
        _fetch(web, tmp_path, part)
    blocked.unlink()
    home = _fetch(web, tmp_path, part)
    assert len(web.asked) == 1
    assert sorted(p.name for p in home.rglob("*")) == [RECEIPT, "a.csv", "data"]


def test_a_file_that_is_published_twice_is_refused(web: Web, tmp_path: Path) -> None:
    web.hub({"p/1.png": b"1", "pictures.zip": _zip({"p/1.png": b"2"})})
    with pytest.raises(DataError, match=r"'p/1\.png' is published twice"):
        _fetch(web, tmp_path, Part(hub="a/b", unpack=("pictures.zip",)))
    assert not (tmp_path / "Mine").exists()


def test_a_github_archive_is_the_pinned_commit_or_refused(web: Web, tmp_path: Path) -> None:
    files = {"repo-x/data/a.csv": b"a", "repo-x/code.py": b"b", "repo-x/data/deep/c.csv": b"c"}
    part = Part(github="o/repo", revision=COMMIT, include=("data/*",), exclude=("*/c.csv",))
    web.files[f"/archives/o/repo/zip/{COMMIT}"] = _zip(files, b"d" * 40)
    with pytest.raises(DataError, match="not the archive of commit"):
        _fetch(web, tmp_path, part)
    web.files[f"/archives/o/repo/zip/{COMMIT}"] = _zip(files, COMMIT.encode())
    home = _fetch(web, tmp_path, part)
    assert [str(p.relative_to(home)) for p in home.rglob("*.*") if p.name != RECEIPT] == ["data/a.csv"]


def test_single_files_and_known_hashes(web: Web, tmp_path: Path) -> None:
    web.files[f"/raw/o/repo/{COMMIT}/x.csv"] = TEXT
    part = Part(raw="o/repo", revision=COMMIT, include=("x.csv",), into="sub")
    with pytest.raises(DataError, match=r"sub/x\.csv has SHA-256 .*its authors published 000"):
        _fetch(web, tmp_path, part, hashes={"sub/x.csv": "0" * 64})
    assert list(tmp_path.iterdir()) == []
    home = _fetch(web, tmp_path, part, hashes={"sub/x.csv": hashlib.sha256(TEXT).hexdigest()})
    assert (home / "sub" / "x.csv").read_bytes() == TEXT


@pytest.mark.parametrize(("token", "says"), [(None, "No token is set"), ("hf_placeholder", "Your token was refused")])
def test_a_gated_set_names_the_page_to_visit_and_keeps_the_token(
    web: Web, tmp_path: Path, token: str | None, says: str
) -> None:
    web.hub({"one.json": b"{}"})
    web.status[f"/datasets/a/b/resolve/{COMMIT}/one.json"] = 401
    with pytest.raises(Unavailable) as caught:
        _fetch(web, tmp_path, Part(hub="a/b"), token=token)
    message = str(caught.value)
    assert says in message and "https://huggingface.co/datasets/a/b" in message and "HF_TOKEN" in message
    assert "hf_placeholder" not in message
    assert list(tmp_path.iterdir()) == []


def test_the_token_goes_to_the_hub_and_not_to_its_storage(web: Web, tmp_path: Path) -> None:
    web.hub({"one.json": b"{}"})
    web.moved[f"/datasets/a/b/resolve/{COMMIT}/one.json"] = web.url + "/storage/one.json"
    web.files["/storage/one.json"] = b"{}"
    _fetch(web, tmp_path, Part(hub="a/b"), token="hf_placeholder")
    sent = {path.partition("?")[0].split("/")[1]: key for path, _, key in web.asked}
    assert sent == {"api": "Bearer hf_placeholder", "datasets": "Bearer hf_placeholder", "storage": None}


def test_without_a_network_it_says_what_to_place_where(tmp_path: Path) -> None:
    parts = (Part(hub="a/b", revision=COMMIT, include=("x.parquet",), unpack=()),)
    nowhere = Endpoints("http://127.0.0.1:9", "http://127.0.0.1:9", "http://127.0.0.1:9")
    with pytest.raises(Unavailable) as caught:
        fetch(_plugin(), Recipe(parts=parts), tmp_path, Bar(), nowhere, pause=_never)
    message = str(caught.value)
    for words in ("cannot be reached", f"x.parquet of https://huggingface.co/datasets/a/b at {COMMIT}", "Mine"):
        assert words in message


def test_what_no_program_can_fetch_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The form at example\. It belongs in .*Mine"):
        fetch(_plugin(), Recipe(by_hand="The form at example."), tmp_path, Bar(), Endpoints())


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "a\\..\\out", "C:out", "a\0b"])
def test_a_path_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    packed = tmp_path / "x.zip"
    stand_in = "x" * len(name)  # zipfile itself would not write such a name
    packed.write_bytes(_zip({"fine.txt": b"1", stand_in: b"2"}).replace(stand_in.encode(), name.encode()))
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(packed, tmp_path / "into")
    assert not (tmp_path / "into").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_of_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/hostname"
        archive.addfile(member)
    with pytest.raises(DataError, match="a link or a device"):
        unpack(tmp_path / "x.tar", tmp_path / "into")


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/hostname")
    with pytest.raises(DataError, match="a link or a device"):
        unpack(tmp_path / "x.zip", tmp_path / "into")


def test_a_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(_zip({f"{n}": bytes(2**23) for n in range(12)}))
    with pytest.raises(DataError, match="is a bomb"):
        unpack(tmp_path / "x.zip", tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_a_member_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    data = bytearray(_zip({"a": bytes(5000)}))
    for place in (data.find(b"PK\x01\x02") + 24, 22):
        data[place : place + 4] = (10).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be unpacked|larger than it says"):
        unpack(tmp_path / "x.zip", tmp_path / "into")


def test_an_archive_that_breaks_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(_zip({"a": TEXT})[:-30])
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(tmp_path / "x.zip", tmp_path / "into")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_archive_that_is_damaged_in_between_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("a", hashlib.sha512(TEXT).digest() * 50)
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[55:75] = bytes(20)
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(Refused, match=r"x\.zip cannot be unpacked"):
        unpack(tmp_path / "x.zip", tmp_path / "into")


def test_a_page_in_the_place_of_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("<!DOCTYPE html>")
    with pytest.raises(Refused, match="neither a zip nor a tar"):
        unpack(tmp_path / "x.zip", tmp_path / "into")


def test_a_tar_that_claims_to_be_huge_is_refused_at_its_first_header(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a")
    member.size = 2**50
    (tmp_path / "x.tar").write_bytes(member.tobuf(format=tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(Refused, match="is a bomb"):
        unpack(tmp_path / "x.tar", tmp_path / "into")


def test_a_name_that_is_a_file_and_a_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(_zip({"a": b"1", "a/b": b"2"}))
    with pytest.raises(Refused, match="'a' is a file and a folder"):
        unpack(tmp_path / "x.zip", tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_a_tar_is_unpacked_with_its_pick(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for name in ("top/a.txt", "top/b.png"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    (filed,) = unpack(tmp_path / "x.tar.gz", tmp_path / "into", Pick(("*.txt",), strip=1))
    assert (filed.path, filed.size, filed.sha256) == ("a.txt", 3, hashlib.sha256(b"abc").hexdigest())


def test_every_recipe_is_of_a_data_set_and_fits_its_loader() -> None:
    assert set(recipes()) <= set(names("dataset"))
    for name in names("dataset"):
        plugin, recipe = find("dataset", name), recipes().get(name, Recipe())
        assert not plugin.folders or recipe.parts or recipe.by_hand, f"nobody wrote where {name} is to be had"
        hubs = [part for part in recipe.parts if part.hub]
        assert not plugin.hub or not hubs or plugin.hub.partition("@")[0] in [part.hub for part in hubs]
        assert [part.revision for part in hubs] == [None] * len(hubs), f"the commit of {name} stands at its loader"


def test_a_hub_part_takes_its_commit_from_the_loader() -> None:
    plugin = find("dataset", "siuo")
    assert recipe_of(plugin).parts[0].revision == plugin.hub.partition("@")[2] != ""
    assert recipe_of(plugin).pinned


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"hub": "a/b", "raw": "a/b"},
        {"github": "a/b"},
        {"raw": "a/b", "revision": "c", "include": ["*"]},
        {"hob": 1},
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"r\.toml"):
        read({"x": {"parts": [part]}}, "r.toml")


def test_an_edited_file_is_found_by_its_receipt(web: Web, tmp_path: Path) -> None:
    web.hub({"one.json": b"{}"})
    home = _fetch(web, tmp_path, Part(hub="a/b"))
    (home / "one.json").write_text("[]")
    found = check(Bound(_plugin(), {}), home)
    assert any("not the published file" in problem for problem in found.problems)


def test_the_command_fetches_from_the_hub_and_works_offline_afterwards(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    arguments = ["data", "get", "siuo", "--data", str(tmp_path)]
    web.hub({"siuo_gen.json": b"[]"}, "sinwang/SIUO", "024e80a01795376b9fed12f8073a12f2275f22ee")
    assert run(arguments) == 1
    shown = capsys.readouterr().err
    assert "CC BY-NC 4.0" in shown and "--accept-licence" in shown and web.asked == []
    assert run([*arguments, "--accept-licence"]) == 0
    assert (tmp_path / "SIUO" / "siuo_gen.json").read_bytes() == b"[]"
    web.asked.clear()
    assert run(arguments) == 0
    assert web.asked == [] and "Nothing was downloaded" in capsys.readouterr().out


@pytest.mark.parametrize(("typed", "code"), [(b"n\n", 1), (b"\x04", 1), (b"y\n", 0)])
def test_a_person_is_asked_to_accept_the_licence(
    web: Web,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: bytes,
    code: int,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    web.hub({"siuo_gen.json": b"[]"}, "sinwang/SIUO", "024e80a01795376b9fed12f8073a12f2275f22ee")
    keyboard, terminal = os.openpty()
    os.write(keyboard, typed)
    with os.fdopen(keyboard, "wb"), os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert run(["data", "get", "siuo", "--data", str(tmp_path)]) == code
    assert (tmp_path / "SIUO").exists() == (code == 0)
    assert code == 0 or ("its licence was not accepted" in capsys.readouterr().err and web.asked == [])

"""The store: append-only, shared, migrated forward, read while it is written to."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from safemlrm.errors import StoreError
from safemlrm.store import Row, Store, open_store, schema
from safemlrm.store.writer import Writer
from support import part

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store's name: a file, and a database of a real PostgreSQL server."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    server: str = request.getfixturevalue("postgres")
    return server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL server of our own on loopback, stopped and forgotten afterwards."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    part(found, "PostgreSQL (Debian package postgresql)")
    binaries = found[-1].parent
    # not under pytest's own folder, whose parents another user may not enter
    base = Path(tempfile.mkdtemp(prefix="safemlrm-postgres-"))
    as_whom: dict[str, object] = {"cwd": base}
    if os.geteuid() == 0:
        shutil.chown(base, "nobody", "nogroup")
        as_whom |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
    environment = {"HOME": str(base), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    data = base / "data"
    start = [str(binaries / "initdb"), "-D", str(data), "-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(start, check=True, capture_output=True, env=environment, **as_whom)  # type: ignore[call-overload]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(binaries / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(base)]
    log = (base / "log").open("wb")
    server = subprocess.Popen([*command, "-c", "fsync=off"], stderr=log, env=environment, **as_whom)  # type: ignore[call-overload]
    ready = [str(binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-t", "30"]
    while subprocess.run(ready, check=False, capture_output=True).returncode != 0:
        assert server.poll() is None, (base / "log").read_text()
    yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
    server.terminate()
    server.wait(20)
    log.close()
    shutil.rmtree(base)


def trial(number: int) -> Row:
    return Row(schema.trials, {"id": f"t{number}", "arm": "a", "content": "c", "seed": 0, "attempt": 0})


def test_a_missing_store_is_an_error_unless_it_is_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        open_store(tmp_path / "x.db")
    open_store(tmp_path / "x.db", create=True).close()
    open_store(tmp_path / "x.db").close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"folder of the store, .*nowhere, does not exist"):
        open_store(tmp_path / "nowhere" / "x.db", create=True)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is a diary" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path / "x.db")


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE recipes (id INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match="not a store of SafeMLRM"):
        open_store(tmp_path / "x.db", create=True)


def test_a_store_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with open_store(path, create=True) as store, store.engine.begin() as connection:
        connection.execute(schema.meta.update().values(value="999"))
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"written by a newer release .schema 999.*pip install -U safemlrm"):
        open_store(path)
    assert path.read_bytes() == before


def test_a_store_of_the_first_schema_is_brought_forward_with_every_row(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.executescript((FIXTURES / "store_v1.sql").read_text(encoding="utf-8"))
    connection.close()
    fresh = tmp_path / "new.db"
    open_store(fresh, create=True).close()
    with open_store(path) as store:
        assert store.replies(["t1"])["t1"].text == "[placeholder reply]"
        assert store.count(schema.planned) == 1
    assert columns(path) == columns(fresh)


def test_a_store_without_steps_is_given_their_table_and_keeps_its_rows(url: str) -> None:
    with open_store(url, create=True) as store:
        store.write([trial(9000)])
        with store.engine.begin() as connection:
            schema.steps.drop(connection)
            connection.execute(text("ALTER TABLE splits DROP COLUMN last"))
            connection.execute(schema.meta.update().values(value="3"))
    step = {"trial": "t9000", "splitter": "corrected", "version": "2", "cut": "paragraphs 1", "judge": "j", "step": 1}
    with open_store(url) as store:
        before = store.count(schema.trials)
        store.write([Row(schema.steps, step | {"steps": 2, "verdict": "v"})] * 2)
        assert (store.count(schema.steps), store.count(schema.trials)) == (1, before)
        assert store.present(schema.trials, "id", ["t9000"]) == {"t9000"}
        with store.engine.connect() as connection:
            assert connection.execute(schema.meta.select()).one().value == str(schema.VERSION)
    open_store(url).close()


def test_splits_of_an_older_store_count_by_their_version(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.executescript((FIXTURES / "store_v1.sql").read_text(encoding="utf-8"))
        for version, status in (("10", "ok"), ("9", "untagged")):
            connection.execute("INSERT INTO splits VALUES ('t1', 'corrected', ?, ?, 1, 1, 1)", (version, status))
    connection.close()
    with open_store(path) as store:
        assert set(store.readings()["status"]) == {"ok"}
        split = {"trial": "t1", "splitter": "corrected", "version": "9", "status": "untagged", "last": 1e9}
        store.write([Row(schema.splits, split)])
        assert set(store.readings()["status"]) == {"untagged"}, "it was read so again"


def columns(path: Path) -> set[tuple[str, str]]:
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index')").fetchall()
        tables = [name for (name,) in names if not name.startswith("sqlite_")]
        found = {(t, row[1]) for t in tables for row in connection.execute(f"PRAGMA table_info({t!r})")}
        found |= {("index", t) for t in tables}
    connection.close()
    return found


def test_a_password_in_an_address_is_never_shown() -> None:
    with pytest.raises(StoreError) as caught:
        open_store("postgresql+psycopg://me:geheim@127.0.0.1:1/none")
    assert "geheim" not in str(caught.value)


def test_the_first_row_holds_and_a_second_does_not_double_it(url: str) -> None:
    with open_store(url, create=True) as store:
        before = store.count(schema.trials)
        store.write([trial(1), trial(1)])
        store.write([trial(1), trial(2)])
        assert store.count(schema.trials) - before in (0, 2)
        assert store.present(schema.trials, "id", ["t1", "t2", "t3"]) == {"t1", "t2"}


def test_more_keys_than_a_query_may_hold_are_found(url: str) -> None:
    with open_store(url, create=True) as store:
        store.write([trial(number) for number in range(1200)])
        assert len(store.present(schema.trials, "id", [f"t{n}" for n in range(5000)])) >= 1200


def test_a_writer_returns_when_rows_are_committed(url: str) -> None:
    async def write(store: Store) -> None:
        async with Writer(store) as writer:
            for number in range(20):
                await writer.write([trial(2000 + number)])
                assert store.present(schema.trials, "id", [f"t{2000 + number}"])

    with open_store(url, create=True) as store:
        asyncio.run(write(store))


def test_a_write_that_fails_reaches_the_task_that_waits(tmp_path: Path) -> None:
    async def write(store: Store) -> None:
        async with Writer(store) as writer:
            with pytest.raises(Exception, match="NOT NULL"):
                await writer.write([Row(schema.trials, {"id": "x", "arm": None, "content": "c", "seed": 0})])
            await writer.write([trial(1)])

    with open_store(tmp_path / "s.db", create=True) as store:
        asyncio.run(write(store))
        assert store.count(schema.trials) == 1


def test_posted_rows_that_are_not_taken_stop_the_next_write(tmp_path: Path) -> None:
    async def write(store: Store) -> None:
        async with Writer(store) as writer:
            writer.post([Row(schema.trials, {"id": "x", "arm": None, "content": "c", "seed": 0})])
            await writer.write([trial(1)])
            with pytest.raises(StoreError, match="NOT NULL"):
                await writer.write([trial(2)])

    with open_store(tmp_path / "s.db", create=True) as store:
        asyncio.run(write(store))


def test_another_process_reads_while_a_writer_writes(tmp_path: Path) -> None:
    async def write(store: Store, reader: Store) -> None:
        async with Writer(store) as writer:
            for number in range(50):
                await writer.write([trial(number)])
                assert reader.count(schema.trials) == number + 1

    path = tmp_path / "s.db"
    with open_store(path, create=True) as store, open_store(path) as reader:
        asyncio.run(write(store, reader))


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.executescript((FIXTURES / "store_v1.sql").read_text(encoding="utf-8"))
    connection.close()
    whole = schema.MIGRATIONS[4]
    monkeypatch.setitem(schema.MIGRATIONS, 4, (*whole[:1], "ALTER TABLE nowhere ADD COLUMN x FLOAT"))
    with pytest.raises(StoreError):
        open_store(path)
    monkeypatch.setitem(schema.MIGRATIONS, 4, whole)
    with open_store(path) as store:
        assert store.count(schema.steps) == 0

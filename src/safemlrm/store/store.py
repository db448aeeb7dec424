"""What happened: SQLite in WAL mode by default, PostgreSQL when several machines write. Opened, migrated, read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, Table, create_engine, event, func, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from safemlrm.errors import StoreError
from safemlrm.records import Response
from safemlrm.store import schema

if TYPE_CHECKING:
    import polars as pl

DEFAULT = "safemlrm.db"

#: Rows asked for in one `IN (...)`: below SQLite's limit on variables.
_CHUNK = 500


class Row(NamedTuple):
    """One row to write: the table, and its columns."""

    table: Table
    values: dict[str, Any]


class Store:
    """An opened store. Reading is short (a long read would keep SQLite's log from being emptied)."""

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.url = url

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.url}>"

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def insert(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Insert rows; one that is there already stays as it is (append-only: the first answer holds).

        Only a split that is made again is noted as the newest one of its reply.
        """
        by_table: dict[Table, list[dict[str, Any]]] = {}
        for row in rows:
            by_table.setdefault(row.table, []).append(row.values)
        dialect = postgresql if self.engine.dialect.name == "postgresql" else sqlite
        for table, values in by_table.items():
            new = dialect.insert(table)
            if table is schema.splits:
                new = new.on_conflict_do_update(index_elements=table.primary_key, set_={"last": new.excluded.last})
            else:
                new = new.on_conflict_do_nothing()
            connection.execute(new, values)

    def write(self, rows: Iterable[Row]) -> None:
        """Insert rows in one transaction. Raises `StoreError` when the database does not take them (a full disk)."""
        try:
            with self.engine.begin() as connection:
                self.insert(connection, rows)
        except DBAPIError as error:
            raise StoreError(
                f"the store {self.url} cannot be written to: {error.orig}. What it holds is kept."
            ) from error

    def forget(self, run: str) -> None:
        """Take back a run that never began, so that no report waits for what it planned."""
        with self.engine.begin() as connection:
            for table, column in ((schema.planned, "run"), (schema.runs, "id"), (schema.engines, "run")):
                connection.execute(table.delete().where(table.c[column] == run))

    def finish(self, run: str, finished: float, outcome: str) -> None:
        """Note how a run ended."""
        with self.engine.begin() as connection:
            ended = schema.runs.update().where(schema.runs.c.id == run)
            connection.execute(ended.values(finished=finished, outcome=outcome))

    def present(self, table: Table, column: str, keys: Sequence[str]) -> set[str]:
        """Return those of `keys` that stand in a column."""
        found: set[str] = set()
        with self.engine.connect() as connection:
            for chunk in _chunks(keys):
                wanted = select(table.c[column]).where(table.c[column].in_(chunk))
                found.update(connection.execute(wanted).scalars())
        return found

    def trials(self) -> pl.DataFrame:
        """Return one row per planned trial of the newest run of every study, and what became of it."""
        from safemlrm.store import frames

        return frames.trials(self)

    def responses(self) -> pl.DataFrame:
        """Return one row per stored reply, with its text as generated."""
        from safemlrm.store import frames

        return frames.responses(self)

    def verdicts(self) -> pl.DataFrame:
        """Return one row per reply, splitter, judge and part that was judged."""
        from safemlrm.store import frames

        return frames.verdicts(self)

    def readings(self, *, splitter: str | None = None, judge: str | None = None) -> pl.DataFrame:
        """Return one row per planned trial and part, with its score where it was read: what the analysis takes.

        By default the newest study's first splitter and first judge. Raises `StudyError` for unknown ones.
        """
        from safemlrm.store import choice, frames

        study = choice.studies(self)[-1]
        read = choice.choose(self, study, splitter, judge)
        name = read[0].splitter if read else splitter or (study.get("splitters") or ["corrected"])[0]
        return frames.readings(self, splitter=name, judge=read[0].judge if read else None)

    def replies(self, trials: Sequence[str]) -> dict[str, Response]:
        """Return the stored replies of these trials as records, by trial id."""
        columns = [schema.responses.c[name] for name in Response.__struct_fields__]
        found: dict[str, Response] = {}
        with self.engine.connect() as connection:
            for chunk in _chunks(trials):
                wanted = select(schema.responses.c.trial, *columns).where(schema.responses.c.trial.in_(chunk))
                for row in connection.execute(wanted):
                    found[row.trial] = Response(**dict(zip(Response.__struct_fields__, row[1:], strict=True)))
        return found

    def image(self, sha256: str) -> bytes | None:
        """Return a picture's bytes by content hash."""
        wanted = select(schema.images.c.data).where(schema.images.c.sha256 == sha256)
        with self.engine.connect() as connection:
            return connection.execute(wanted).scalar()

    def count(self, table: Table) -> int:
        """Return how many rows a table has."""
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def run_named(self, beginning: str) -> str:
        """Return the id of the run that begins so. Raises `StoreError` for none, or several."""
        with self.engine.connect() as connection:
            ids = [run for run in connection.execute(select(schema.runs.c.id)).scalars() if run.startswith(beginning)]
        if len(ids) != 1:
            raise StoreError(f"{len(ids)} runs of {self.url} have an id that begins with {beginning!r}")
        return str(ids[0])

    def latest_runs(self) -> list[Any]:
        """Return the newest run of every study in the store, oldest first: each run planned its whole study."""
        with self.engine.connect() as connection:
            newest: dict[str, Any] = {}
            for run in connection.execute(select(schema.runs).order_by(schema.runs.c.started)):
                newest.pop(run.study, None)
                newest[run.study] = run
        return list(newest.values())


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]


def open_store(where: str | Path = DEFAULT, *, create: bool = False) -> Store:
    """Open a store by file name or database URL, and bring an older one forward.

    With `create` a missing one is made; without, it is a `StoreError`, so that a mistyped name is never
    an empty result. Raises `StoreError` also for a store of a newer release and for what is no store.
    """
    url = str(where) if "://" in str(where) else f"sqlite:///{Path(where)}"
    try:
        engine = create_engine(make_url(url), json_serializer=msgspec.json.encode)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise StoreError(
            f"store {_shown(url)}: {error}. Give a file name, or postgresql+psycopg://... "
            "(needs `pip install 'safemlrm[postgres]'`)"
        ) from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, Path(make_url(url).database or ""), create)
    try:
        _migrate(engine, _shown(url), create)
    except (OperationalError, DatabaseError) as error:
        raise StoreError(f"store {_shown(url)} cannot be opened: {error.orig}") from error
    return Store(engine, _shown(url))


def _shown(url: str) -> str:
    """Return a store's name as it may be printed: a file's path, or a URL without its password."""
    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///")
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(unreadable database URL)"


def _prepare_sqlite(engine: Engine, path: Path, create: bool) -> None:
    if not path.is_file():
        if not create:
            raise StoreError(f"no store at {path}: `safemlrm run --store {path}` makes one")
        if not path.parent.is_dir():
            raise StoreError(f"the folder of the store, {path.parent}, does not exist")
        if not os.access(path.parent, os.W_OK):
            raise StoreError(f"the folder of the store, {path.parent}, cannot be written to")

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        # FULL costs nothing measurable with rows written in batches, and survives a power cut.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=20000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def _migrate(engine: Engine, shown: str, create: bool) -> None:
    with engine.begin() as connection:
        tables = set(inspect(connection).get_table_names())
        if "meta" not in tables:
            if tables:
                raise StoreError(f"{shown} is a database, but not a store of SafeMLRM (it has tables {sorted(tables)})")
            if not create:
                raise StoreError(f"{shown} is empty: no study has run in it yet")
            schema.metadata.create_all(connection)
            connection.execute(schema.meta.insert().values(key="schema", value=str(schema.VERSION)))
            return
        found = int(connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == "schema")).scalar_one())
        if found > schema.VERSION:
            raise StoreError(
                f"store {shown} was written by a newer release (schema {found}, this one reads up to "
                f"{schema.VERSION}): upgrade with `pip install -U safemlrm`"
            )
    if found < schema.VERSION:
        with engine.begin() as connection:
            _bring_forward(connection)


def _bring_forward(connection: Connection) -> None:
    """Migrate whole or not at all: SQLite's driver would commit each change of a table by itself."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("LOCK TABLE meta IN EXCLUSIVE MODE"))
    # another process may have been here in the meantime
    found = int(connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == "schema")).scalar_one())
    for version in range(found + 1, schema.VERSION + 1):
        for statement in schema.MIGRATIONS[version]:
            connection.execute(text(statement))
    newest = schema.meta.update().where(schema.meta.c.key == "schema")
    connection.execute(newest.values(value=str(schema.VERSION)))

"""The tables of a store, and how a store of an older release is brought forward.

Append-only: rows are inserted and never changed, but for a run's end and the moment at which a reply was last split
so. Names are the twelve words.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

#: Bumped with every change of a table; `MIGRATIONS[n]` brings a store from version n - 1 to n.
VERSION = 4

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))

runs = Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("study", String, nullable=False),  # hash of what was planned: the same study, the same value
    Column("document", Text, nullable=False),  # the study as it ran, JSON
    Column("version", String, nullable=False),
    Column("started", Float, nullable=False),
    Column("finished", Float),
    Column("outcome", String),
)

arms = Table(
    "arms",
    metadata,
    Column("id", String, primary_key=True),
    Column("condition", String, nullable=False),
    Column("prompting", String, nullable=False),
    Column("defense", String, nullable=False),
    Column("model", String, nullable=False),
    Column("published", String),
    Column("base", String),
    Column("document", Text, nullable=False),  # everything that the trial's id takes from the arm, JSON
)

samples = Table(
    "samples",
    metadata,
    Column("content", String, primary_key=True),
    Column("dataset", String, nullable=False),
    Column("sample", String, nullable=False),
    Column("scenario", String, nullable=False),
    Column("group", String, nullable=False),
    Column("expected", String, nullable=False),
    Column("goal", Text, nullable=False),
    Column("document", Text, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("id", String, primary_key=True),
    Column("arm", String, nullable=False),
    Column("content", String, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
)

planned = Table(
    "planned",
    metadata,
    Column("run", String, primary_key=True),
    Column("trial", String, primary_key=True),
    Column("place", Integer, nullable=False, server_default="0"),  # in the order of the plan
)

images = Table(
    "images",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("type", String, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

prompts = Table("prompts", metadata, Column("hash", String, primary_key=True), Column("body", Text, nullable=False))

calls = Table(
    "calls",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", String, nullable=False),
    Column("role", String, nullable=False),  # target, judge, guard, attacker, image
    Column("trial", String),
    Column("verdict", String),
    Column("model", String, nullable=False),
    Column("outcome", String, nullable=False),  # ok, or the kind of its failure
    Column("tries", Integer, nullable=False),
    Column("started", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Column("tokens_reasoning", Integer),
)

responses = Table(
    "responses",
    metadata,
    Column("trial", String, primary_key=True),
    Column("prompt", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("reasoning", Text),
    Column("reasoning_field", String),
    Column("stop", String, nullable=False),
    Column("stop_detail", String),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Column("tokens_reasoning", Integer),
    Column("model", String),
    Column("visibility", String, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("created", Float, nullable=False),
)

failures = Table(
    "failures",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", String, nullable=False),
    Column("trial", String, nullable=False),
    Column("verdict", String),
    Column("step", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("retryable", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Index("failures_trial", "trial"),
    Index("failures_verdict", "verdict"),
)

splits = Table(
    "splits",
    metadata,
    Column("trial", String, primary_key=True),
    Column("splitter", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("thinking", Integer),  # characters of each part; NULL where the part is absent
    Column("answer", Integer),
    Column("full", Integer),
    Column("last", Float, nullable=False),  # when the reply was last split so: of several splits the newest counts
)

judges = Table(
    "judges",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("model", String),
    Column("document", Text, nullable=False),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("key", String, primary_key=True),
    Column("judge", String, nullable=False),
    Column("score", Integer),
    Column("refusal", Boolean),
    Column("reason", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("unread", String),
    Column("created", Float, nullable=False),
)

judgings = Table(
    "judgings",
    metadata,
    Column("trial", String, primary_key=True),
    Column("splitter", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("judge", String, primary_key=True),
    Column("part", String, primary_key=True),
    Column("verdict", String, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("trial", String, primary_key=True),
    Column("splitter", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("cut", String, primary_key=True),  # how the thinking was cut: a name and a version, `thinking.steps.CUT`
    Column("judge", String, primary_key=True),
    Column("step", Integer, primary_key=True),  # counts from 1 ...
    Column("steps", Integer, nullable=False),  # ... to the number of them
    Column("verdict", String, nullable=False),
)

engines = Table(
    "engines",
    metadata,
    Column("run", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("engine", String, nullable=False),  # what answered and its version, in its own words: vllm 0.33.0
)

marks = Table(
    "marks",
    metadata,
    Column("trial", String, primary_key=True),
    Column("splitter", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("right", Boolean),  # NULL where the reply holds no answer that can be read
    Column("taken", Text),  # what was taken for the answer
)

probes = Table(
    "probes",
    metadata,
    Column("id", String, primary_key=True),
    Column("target", String, nullable=False),  # how the endpoint is reached, and by what id it is asked
    Column("model", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("document", Text, nullable=False),  # the findings, JSON
    Index("probes_target", "target"),
)

#: Statements that bring a store from the version before to this one.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        "CREATE INDEX IF NOT EXISTS failures_trial ON failures (trial)",
        "CREATE INDEX IF NOT EXISTS failures_verdict ON failures (verdict)",
        "ALTER TABLE responses ADD COLUMN stop_detail VARCHAR",
        "ALTER TABLE planned ADD COLUMN place INTEGER NOT NULL DEFAULT 0",
    ),
    3: (
        "CREATE TABLE probes (id VARCHAR NOT NULL PRIMARY KEY, target VARCHAR NOT NULL, model VARCHAR NOT NULL, "
        "created FLOAT NOT NULL, document TEXT NOT NULL)",
        "CREATE INDEX probes_target ON probes (target)",
        "CREATE TABLE engines (run VARCHAR NOT NULL, model VARCHAR NOT NULL, engine VARCHAR NOT NULL, "
        "PRIMARY KEY (run, model))",
        "CREATE TABLE marks (trial VARCHAR NOT NULL, splitter VARCHAR NOT NULL, version VARCHAR NOT NULL, "
        '"right" BOOLEAN, taken TEXT, PRIMARY KEY (trial, splitter, version))',
    ),
    4: (
        "CREATE TABLE steps (trial VARCHAR NOT NULL, splitter VARCHAR NOT NULL, version VARCHAR NOT NULL, "
        "cut VARCHAR NOT NULL, judge VARCHAR NOT NULL, step INTEGER NOT NULL, steps INTEGER NOT NULL, "
        "verdict VARCHAR NOT NULL, PRIMARY KEY (trial, splitter, version, cut, judge, step))",
        # versions were whole numbers, the higher the newer
        "ALTER TABLE splits ADD COLUMN last FLOAT NOT NULL DEFAULT 0",
        "UPDATE splits SET last = CAST(version AS FLOAT)",
    ),
}

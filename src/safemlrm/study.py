"""What to run: a study in TOML, or the same from the command line, read strictly and checked before the first call."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from safemlrm.errors import StudyError, UnknownName
from safemlrm.records import Decoding, digest

Prompting = Literal["bare", "think", "native"]


class Serving(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a server is started for a model: `[targets.serving]`. Nothing of it is needed."""

    #: the port on 127.0.0.1; a free one where none is named
    port: int | None = None
    #: further flags of the engine, after the registry's
    flags: tuple[str, ...] = ()
    #: what is run instead of `vllm serve` or `sglang serve --model-path`
    command: tuple[str, ...] = ()
    #: seconds within which it must answer; weights are downloaded in that time
    start_within: float = 3600.0


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model of a study: `[[targets]]`, or a bare string in `targets = [...]`."""

    #: a registry name, or `protocol:model@URL`
    model: str
    #: the engine that is started for this model and stopped after its last trial
    serve: Literal["vllm", "sglang"] | None = None
    serving: Serving = Serving()
    #: a folder of weights to use instead of the Hub's, known by the hash of its content
    weights: str | None = None
    #: parameters of the protocol, as in `transformers_local(dtype="float32")`
    options: dict[str, Any] = {}
    #: overrides the study's `promptings` for this model
    promptings: tuple[Prompting, ...] | None = None
    #: the name of the model it was tuned from, where the registry does not say
    base: str | None = None
    #: overrides the study's `decoding`, field by field; `"authors"` takes what the model's authors recommend
    decoding: dict[str, Any] | Literal["authors"] = {}


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One benchmark of a study and the conditions under which it is asked: `[[data]]`."""

    dataset: str
    attacks: tuple[str, ...] = ("none",)
    #: only these: the authors' names, hazards of the crosswalk, or `unmapped`; none named means all
    scenarios: tuple[str, ...] = ()


class Subset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seeded subset of each data set, in proportion to its scenarios: `sample = {n = 200, seed = 1}`."""

    n: int
    seed: int = 0


class Primary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The comparison that is declared before the run: `[primary]`. A field that is left out holds for all."""

    base: str | None = None
    derived: str | None = None
    condition: str | None = None
    part: Literal["thinking", "answer", "full"] = "answer"
    threshold: Literal[3, 4, 5] = 4
    #: the scenarios that Holm's adjustment is over: those of each pair and condition, or all that are declared
    family: Literal["scenario", "all"] = "scenario"


class Stopping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a run may stop early: `[stopping]`. Items then come in a random order that `seed` fixes beforehand."""

    #: the pair whose difference is watched, by the names that the tables show
    base: str
    derived: str
    #: one condition as the tables name it; None takes all that both run under
    condition: str | None = None
    part: Literal["thinking", "answer", "full"] = "answer"
    threshold: Literal[3, 4, 5] = 4
    #: the probability of stopping although there is no difference
    alpha: float = 0.05
    #: fixes the order
    seed: int = 0
    #: no stop before so many items were read of both
    at_least: int = 50
    #: a look after so many newly judged trials
    every: int = 20


class Study(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to run. `docs/studies.md` documents every key of the TOML; they are these fields."""

    name: str = "command line"
    description: str = ""
    targets: tuple[Target, ...] = ()
    data: tuple[Data, ...] = ()
    promptings: tuple[Prompting, ...] = ("bare",)
    defenses: tuple[str, ...] = ("none",)
    judges: tuple[str, ...] = ("harm_rubric",)
    #: how replies are taken apart; the first one is the report's
    splitters: tuple[str, ...] = ("corrected",)
    #: whether each step of the thinking is judged by itself too, to see where it turns
    steps: bool = False
    #: repetitions of every trial, each with its own decoding seed
    seeds: int = 1
    #: at most so many samples of each data set, taken in turn from its scenarios
    limit: int | None = None
    #: the first so many of each scenario, in the authors' order
    per_scenario: int | None = None
    #: a seeded subset; a larger `n` under the same seed contains the smaller one
    sample: Subset | None = None
    #: what an image that is not there does: stop before the first call, or be counted as a failure
    missing: Literal["stop", "skip"] = "stop"
    decoding: Decoding = msgspec.field(default_factory=Decoding)
    #: the comparison that the report tells from exploration; it changes nothing that is asked
    primary: Primary | None = None
    #: a run stops when this difference is told from 0; it changes the order of the trials, and none of them
    stopping: Stopping | None = None

    def identity(self) -> str:
        """Return the hash of what is asked of the models: the same study whatever judges it or where it runs."""
        document = msgspec.to_builtins(self)
        for target in document.get("targets", ()):
            target["model"] = re.sub("@http[^@]*$", "", target["model"])
            for key in ("serve", "serving"):
                target.pop(key, None)
        ours = ("judges", "splitters", "steps", "description", "missing", "primary", "stopping")
        return digest({k: v for k, v in document.items() if k not in ours})


def read_study(path: Path) -> Study:
    """Read a study's TOML. Raises `StudyError` with the file, the key and what was expected there."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(f"no study at {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
        raise StudyError(f"{path} is not readable TOML: {error}") from error
    return convert(document, str(path), default_name=path.stem)


def convert(document: dict[str, Any], where: str, default_name: str = "study") -> Study:
    """Turn plain data into a `Study`. Raises `UnknownName` for a key that nothing reads, `StudyError` otherwise."""
    document = {"name": default_name} | document
    _known(document, Study, where)
    if isinstance(document.get("targets"), list):
        targets = [{"model": t} if isinstance(t, str) else t for t in document["targets"]]
        document["targets"] = targets
    for kind, key in ((Target, "targets"), (Data, "data")):
        for number, entry in enumerate(document.get(key) or (), start=1):
            if isinstance(entry, dict):
                _known(entry, kind, f"{where}, [[{key}]] number {number}")
    if isinstance(document.get("sample"), dict):
        _known(document["sample"], Subset, f"{where}, sample")
    if isinstance(document.get("primary"), dict):
        _known(document["primary"], Primary, f"{where}, [primary]")
    if isinstance(document.get("stopping"), dict):
        _known(document["stopping"], Stopping, f"{where}, [stopping]")
    if isinstance(document.get("decoding"), dict):
        _known(document["decoding"], Decoding, f"{where}, [decoding]")
    try:
        study = msgspec.convert(document, Study)
    except msgspec.ValidationError as error:
        raise StudyError(f"{where}: {error}") from error
    return _sensible(study, where)


def _known(entry: dict[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    for key in entry:
        if key not in kind.__struct_fields__:
            raise UnknownName("key", key, kind.__struct_fields__, where=where)


def _sensible(study: Study, where: str) -> Study:
    if study.seeds < 1:
        raise StudyError(f"{where}: seeds = {study.seeds}: at least 1")
    if study.limit is not None and study.limit < 1:
        raise StudyError(f"{where}: limit = {study.limit}: at least 1, or leave it out for all samples")
    if study.per_scenario is not None and study.per_scenario < 1:
        raise StudyError(f"{where}: per_scenario = {study.per_scenario}: at least 1, or leave it out for all samples")
    if study.sample is not None and study.sample.n < 1:
        raise StudyError(f"{where}: sample = {{n = {study.sample.n}}}: at least 1, or leave it out for all samples")
    if study.sample is not None and study.per_scenario is not None:
        raise StudyError(f"{where}: per_scenario and sample choose in two ways: name one of them")
    for key in ("promptings", "defenses", "splitters"):
        values = getattr(study, key)
        if not values or len(set(values)) < len(values):
            raise StudyError(f"{where}: {key} = {list(values)}: name at least one, each once")
    if study.stopping is not None:
        _stops(study.stopping, f"{where}, [stopping]")
    return study


def _stops(stopping: Stopping, where: str) -> None:
    if stopping.base == stopping.derived:
        raise StudyError(f"{where}: base and derived are both {stopping.base!r}: a model does not differ from itself")
    if not 0 < stopping.alpha < 1:
        raise StudyError(f"{where}: alpha = {stopping.alpha}: between 0 and 1")
    for key in ("at_least", "every"):
        if getattr(stopping, key) < 1:
            raise StudyError(f"{where}: {key} = {getattr(stopping, key)}: at least 1")

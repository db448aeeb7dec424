"""What a study asks: its models, benchmarks and arms, and a trial, with an id, for each of them and each sample."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from safemlrm import prompting, weights
from safemlrm.contents import absent_file, content_of, needed_images
from safemlrm.crosswalk import places_of, scenarios_wanted
from safemlrm.errors import DataError
from safemlrm.models import ModelFacts
from safemlrm.records import Decoding, Sample, digest
from safemlrm.registry import Bound
from safemlrm.sampling import Label, Selection, shuffled
from safemlrm.study import Serving, Study, Subset


@dataclass(frozen=True)
class Model:
    """One target of a study, resolved: what is known of it, and how it is reached (`protocol`, `url`)."""

    label: str
    facts: ModelFacts
    protocol: Bound | None
    url: str | None
    base: str | None
    promptings: tuple[str, ...]
    decoding: Decoding
    #: the engine that is started for it, and how
    serve: str | None = None
    serving: Serving = field(default_factory=Serving)

    @property
    def flags(self) -> list[str]:
        """The engine's flags that change what the model writes; addresses and sizes do not."""
        return weights.counted_flags(self.serving.flags) if self.serve else []

    @property
    def opened_here(self) -> bool:
        """Whether the weights are opened for this study: by a server that is started for them, or in this process."""
        return self.serve is not None or (self.protocol is not None and self.protocol.plugin.holds == "weights")

    @property
    def limits(self) -> dict[str, Any]:
        """The registry's image-processor limits that the model is opened with; the study's own replace them."""
        known = self.facts.serve.processor
        if self.serve:
            own = {flag.partition("=")[0] for flag in self.serving.flags}
            return known if weights.LIMIT_FLAGS[self.serve] not in own else {}
        if self.protocol is None or not self.opened_here:
            return {}
        return {name: value for name, value in known.items() if self.protocol.params.get(name) is None}

    def identity(self) -> dict[str, Any]:
        """Return what the trial's id takes from the model: its weights, never where it is served."""
        own = self.protocol.plugin.identity if self.protocol else None
        found = weights.identity(self.facts) if own is None else own(self.facts, self.url)
        if self.protocol is not None and self.protocol.plugin.counted:
            found["settings"] = {name: self.protocol.params[name] for name in self.protocol.plugin.counted}
            if found["settings"].get("dtype") == "auto":
                found["settings"]["dtype"] = self.facts.serve.dtype
        if self.flags:
            found["flags"] = self.flags
        if self.limits:
            found["limits"] = self.limits
        if self.facts.side is not None:
            found["thinking"] = self.facts.side
        return found


@dataclass(frozen=True)
class Source:
    """One benchmark of a study: where it lies, and the attacks under which it is asked."""

    dataset: Bound
    #: None where the benchmark is not there: its counts can be planned with, nothing can be asked
    folder: Path | None
    attacks: tuple[Bound, ...]
    limit: int | None = None
    per_scenario: int | None = None
    subset: Subset | None = None
    #: the scenarios that are asked, as the study names them: the authors' names or hazards of the crosswalk
    scenarios: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample]:
        """Yield the samples of the study lazily, in the authors' order."""
        chosen = self._chosen
        for number, sample in enumerate(self._all()):
            if chosen is None or number in chosen:
                yield sample

    def _all(self) -> Iterator[Sample]:
        if self.folder is None:
            raise DataError(f"{self.dataset.given()} is not there")
        samples: Iterator[Sample] = self.dataset.plugin.function(self.folder, **self.dataset.params)
        return samples

    def published(self) -> dict[str, int]:
        """Return the samples per scenario as the authors publish them, under the study's limit."""
        counts = self.dataset.plugin.published
        if counts is None:
            raise DataError(f"{self.dataset.given()} is not there, and its size is not known without it")
        full = counts(**self.dataset.params)
        if self.scenarios and list(full) == ["all"]:
            raise DataError(f"{self.dataset.given()} is not there, and its scenarios are not known without it")
        selection = self._selection(list(full))
        return full if selection.everything else selection.counts(full)

    @property
    def partial(self) -> bool:
        """Whether the study asks only some of the samples."""
        return bool(self.scenarios) or not self._selection(()).everything

    @cached_property
    def _chosen(self) -> frozenset[int] | None:
        """The places of the samples that are asked, None for all. A small run still covers all scenarios."""
        if not self.partial:
            return None
        labels = [Label(s.scenario, s.group, s.id) for s in self._all()]
        return frozenset(self._selection(dict.fromkeys(label.scenario for label in labels)).positions(labels))

    def _selection(self, known: Collection[str]) -> Selection:
        """Return the study's choice among samples of the `known` scenarios."""
        wanted = None
        if self.scenarios and known:
            own = places_of(self.dataset, self.folder)
            wanted = scenarios_wanted(self.dataset.plugin.name, self.scenarios, known, own)
        n, seed = (self.subset.n, self.subset.seed) if self.subset else (None, 0)
        return Selection(wanted, self.per_scenario, n, seed, self.limit)


@dataclass(frozen=True)
class Arm:
    """One cell of a study: everything that a trial's id takes besides sample, seed and attempt."""

    model: Model
    source: Source
    attack: Bound
    prompting: prompting.Words
    defense: Bound

    @cached_property
    def document(self) -> dict[str, Any]:
        """Return the arm as plain data: names, versions, parameters, weights and decoding; no URL, no judge."""
        return {
            "attack": self.attack.identity(),
            "prompting": self.prompting.identity(),
            "defense": self.defense.identity(),
            "target": self.model.identity(),
            "decoding": msgspec.to_builtins(self.model.decoding),
        }

    @cached_property
    def id(self) -> str:
        """The hash of the arm's document."""
        return digest(self.document)

    @property
    def facts(self) -> ModelFacts:
        """The facts by which replies are split: the model's own, or the format that the prompt asks for."""
        return prompting.read_as(self.model.facts, self.prompting.format)

    @property
    def rendering(self) -> str | None:
        """The released rendering that the attack replays, where it replays one."""
        parameter = self.attack.plugin.rendering
        return None if parameter is None else str(self.attack.params[parameter])


class Trial(NamedTuple):
    """One cell of the study for one sample, seed and attempt."""

    id: str
    arm: Arm
    sample: Sample
    content: str
    seed: int
    attempt: int = 0
    #: why it cannot be asked (an image that is not there, and the study says `missing = "skip"`)
    missing: str | None = None


def trial_id(content: str, arm: str, seed: int, attempt: int) -> str:
    """Return a trial's id: the hash of sample content, arm, seed and attempt."""
    return digest({"sample": content, "arm": arm, "seed": seed, "attempt": attempt})


class Tally(NamedTuple):
    """What a study will ask: known without reading a picture or calling a model."""

    samples: dict[str, dict[str, int]]
    trials: int
    images: int
    missing: list[str]
    #: data sets of which only some samples are asked: their ids, in the authors' order
    chosen: dict[str, list[str]]


@dataclass
class Plan:
    """A study with every name resolved and every parameter checked: nothing was called yet."""

    study: Study
    models: list[Model]
    sources: list[Source]
    defenses: list[Bound]
    warnings: list[str] = field(default_factory=list)
    _held: list[tuple[int, Sample]] | None = None

    def arms(self, source: Source, models: Iterable[Model] | None = None) -> list[Arm]:
        """Return the cells of the study for one benchmark, model by model."""
        return [
            Arm(model, source, attack, prompted, defense)
            for model in (self.models if models is None else models)
            for attack, prompted, defense in product(source.attacks, self.prompted(model), self.defenses)
        ]

    def prompted(self, model: Model) -> list[prompting.Words]:
        """Return the prompts under which a model is asked."""
        return prompting.asked_with(model, self.models)

    def tally(self) -> Tally:
        """Count samples, trials and pictures, and look for every picture file. Raises `DataError`, `StudyError`."""
        counts: dict[str, dict[str, int]] = {}
        trials = images = 0
        missing: dict[str, None] = {}
        chosen: dict[str, list[str]] = {}
        for source in self.sources:
            name, times = str(source.dataset.given()), self._times()
            if source.folder is None:
                counts[name] = source.published()
                asked = sum(counts[name].values()) * times
                trials += asked * len(source.attacks)
                images += asked * sum(1 if a.plugin.rendering else a.plugin.draws for a in source.attacks)
                continue
            scenarios = counts.setdefault(name, {})
            ids = chosen.setdefault(name, []) if source.partial else None
            for sample in source.samples():
                if ids is not None:
                    ids.append(sample.id)
                scenarios[sample.scenario] = scenarios.get(sample.scenario, 0) + 1
                for attack in source.attacks:
                    needed = needed_images(sample, attack)
                    missing.update(dict.fromkeys(p for p in map(absent_file, needed) if p))
                    trials += times
                    images += (len(needed) + attack.plugin.draws) * times
            if not scenarios:
                raise DataError(f"{source.dataset.given()} has no samples in {source.folder}")
        return Tally(counts, trials, images, list(missing), chosen)

    def _times(self) -> int:
        """How often each sample is asked under each attack: models, promptings, defenses, seeds."""
        asked = sum(len(self.prompted(model)) for model in self.models)
        return asked * len(self.defenses) * self.study.seeds

    def ids(self) -> Iterator[Trial]:
        """Yield every trial once, with its id, each picture read and hashed once whatever the number of models."""
        arms = [[[a for a in self.arms(s) if a.attack is attack] for attack in s.attacks] for s in self.sources]
        for place, sample in self._order():
            for attack, asked in zip(self.sources[place].attacks, arms[place], strict=True):
                content, missing = content_of(sample, attack, asked[0].rendering)
                for arm in asked:
                    for seed in range(self.study.seeds):
                        key = trial_id(content, arm.id, seed, 0)
                        yield Trial(key, arm, sample, content, seed, missing=missing)

    def trials(self, model: Model, ids: Callable[[Arm], Iterator[tuple[str, str, str | None]]]) -> Iterator[Trial]:
        """Yield one model's trials again for asking, sample by sample, with the ids that `ids()` gave.

        `ids(arm)` yields (id, content hash, why missing) in the order of `ids()`.
        """
        known = [
            [[(a, ids(a)) for a in self.arms(source, [model]) if a.attack is attack] for attack in source.attacks]
            for source in self.sources
        ]
        for place, sample in self._order():
            for asked in known[place]:
                for arm, keys in asked:
                    for seed in range(self.study.seeds):
                        key, content, missing = next(keys)
                        yield Trial(key, arm, sample, content, seed, missing=missing)

    def _order(self) -> Iterator[tuple[int, Sample]]:
        """Yield each benchmark's place and sample: the authors' order, or a random one where a run may stop early."""
        every = ((place, sample) for place, source in enumerate(self.sources) for sample in source.samples())
        if self.study.stopping is None:
            return every
        if self._held is None:  # twins of a goal stay together: they make one difference
            seed = self.study.stopping.seed
            self._held = sorted(every, key=lambda pair: shuffled(seed, pair[1].dataset, pair[1].group or pair[1].id))
        return iter(self._held)

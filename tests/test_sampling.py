"""Sampling: which samples a study asks, the same on every machine, and nothing paid for is lost by asking more."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safemlrm.cli import run
from safemlrm.errors import DataError, StudyError, UnknownName
from safemlrm.registry import bind
from safemlrm.sampling import Label, Selection
from safemlrm.study import Subset, convert
from safemlrm.trials import Source

LABELS = st.lists(st.sampled_from("aabbbbbbc"), min_size=1, max_size=60).map(
    lambda names: [Label(name, id=str(i)) for i, name in enumerate(names)]
)
FEW = settings(deadline=None, max_examples=60)


@FEW
@given(labels=LABELS, n=st.integers(1, 70), more=st.integers(0, 20), seed=st.integers(0, 3))
def test_a_larger_subset_contains_the_smaller_one(labels: list[Label], n: int, more: int, seed: int) -> None:
    small = Selection(n=n, seed=seed).positions(labels)
    large = Selection(n=n + more, seed=seed).positions(labels)
    assert set(small) <= set(large)
    assert len(small) == min(n, len(labels))


@FEW
@given(labels=LABELS, few=st.integers(1, 9), more=st.integers(0, 9))
def test_a_larger_limit_or_number_per_scenario_contains_the_smaller_one(
    labels: list[Label], few: int, more: int
) -> None:
    for small, large in (
        (Selection(limit=few), Selection(limit=few + more)),
        (Selection(per_scenario=few), Selection(per_scenario=few + more)),
    ):
        assert set(small.positions(labels)) <= set(large.positions(labels))


@FEW
@given(labels=LABELS, n=st.integers(1, 60), seed=st.integers(0, 3))
def test_every_scenario_has_its_share_of_a_subset_to_within_one_sample(labels: list[Label], n: int, seed: int) -> None:
    chosen = Counter(labels[i].scenario for i in Selection(n=n, seed=seed).positions(labels))
    for scenario, size in Counter(label.scenario for label in labels).items():
        fair = min(n, len(labels)) * size / len(labels)
        assert abs(chosen[scenario] - fair) <= 1


@FEW
@given(labels=LABELS, n=st.integers(1, 60), seed=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_a_draw_depends_on_the_names_and_not_on_the_order(
    labels: list[Label], n: int, seed: int, order: random.Random
) -> None:
    mixed = sorted(labels, key=lambda label: (label.scenario, order.random()))
    drawn = [{rows[i].id for i in Selection(n=n, seed=seed).positions(rows)} for rows in (sorted(labels), mixed)]
    assert drawn[0] == drawn[1]


@FEW
@given(labels=LABELS, n=st.integers(1, 60), limit=st.integers(1, 60))
def test_scenarios_are_chosen_first_then_the_subset_and_the_limit_last(labels: list[Label], n: int, limit: int) -> None:
    wanted = frozenset("ab")
    at_once = Selection(wanted, n=n, seed=1, limit=limit).positions(labels)
    of_wanted = [i for i, label in enumerate(labels) if label.scenario in wanted]
    subset = [of_wanted[i] for i in Selection(n=n, seed=1).positions([labels[i] for i in of_wanted])]
    assert set(at_once) <= set(subset) <= set(of_wanted)
    assert len(at_once) == min(n, limit, len(of_wanted))


@FEW
@given(labels=LABELS, n=st.integers(1, 70), per=st.integers(1, 9), limit=st.integers(1, 70))
def test_counts_planned_without_the_data_are_the_counts_with_it(
    labels: list[Label], n: int, per: int, limit: int
) -> None:
    ordered = sorted(labels)
    published = dict(Counter(label.scenario for label in ordered))
    for selection in (Selection(n=n, seed=1), Selection(per_scenario=per), Selection(limit=limit)):
        chosen = Counter(ordered[i].scenario for i in selection.positions(ordered))
        assert selection.counts(published) == dict(chosen)


def test_a_subset_is_proportional_to_the_scenarios() -> None:
    labels = [Label("large", id=f"l{i}") for i in range(300)] + [Label("small", id=f"s{i}") for i in range(100)]
    chosen = Selection(n=40, seed=7).positions(labels)
    assert Counter(labels[i].scenario for i in chosen) == {"large": 30, "small": 10}


def test_the_draw_of_a_seed_never_changes() -> None:
    labels = [Label("s", id=str(i)) for i in range(20)]
    assert Selection(n=5, seed=1).positions(labels) == [2, 4, 8, 10, 18]
    assert Selection(n=5, seed=2).positions(labels) != Selection(n=5, seed=1).positions(labels)


def test_twins_of_one_group_are_drawn_together() -> None:
    labels = [Label("s", group=str(i // 2), id=str(i)) for i in range(40)]
    chosen = set(Selection(n=10, seed=3).positions(labels))
    assert all((i ^ 1) in chosen for i in chosen)


def test_per_scenario_takes_the_first_of_each_and_limit_caps_what_is_left() -> None:
    labels = [Label(name, id=str(i)) for i, name in enumerate("aaabbbccc")]
    assert Selection(per_scenario=2).positions(labels) == [0, 1, 3, 4, 6, 7]
    assert Selection(per_scenario=2, limit=4).positions(labels) == [0, 1, 3, 6]


def _source(*scenarios: str, subset: Subset | None = None) -> Source:
    return Source(bind("dataset", "specimen"), Path(), (), subset=subset, scenarios=scenarios)


@pytest.mark.parametrize("name", ["02-HateSpeech", "02", "2", "HateSpeech", "hate", "Hate"])
def test_a_scenario_is_named_by_its_authors_or_by_its_hazard(name: str) -> None:
    assert {s.scenario for s in _source(name).samples()} == {"02-HateSpeech"}
    source = Source(bind("dataset", "mm_safetybench"), None, (), scenarios=(name,))
    assert source.published() == {"02-HateSpeech": 163}


def test_a_hazard_takes_all_its_scenarios() -> None:
    found = {s.scenario for s in _source("specialized_advice").samples()}
    assert found == {"10-Legal_Opinion", "11-Financial_Advice", "12-Health_Consultation"}


def test_unmapped_is_a_name_too() -> None:
    source = Source(bind("dataset", "mm_safetybench"), None, (), scenarios=("unmapped",))
    assert set(source.published()) == {
        "04-Physical_Harm",
        "05-EconomicHarm",
        "08-Political_Lobbying",
        "13-Gov_Decision",
    }


def test_a_scenario_that_is_none_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="02-HateSpeech"):
        list(_source("HateSpeach").samples())
    with pytest.raises(DataError, match="indiscriminate_weapons"):
        list(_source("indiscriminate_weapons").samples())


def test_a_subset_of_a_benchmark_keeps_the_authors_order() -> None:
    source = _source(subset=Subset(n=50, seed=1))
    everything = [s.id for s in _source().samples()]
    chosen = [s.id for s in source.samples()]
    assert len(chosen) == 50 and chosen == sorted(chosen, key=everything.index)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"per_scenario": 0}, "per_scenario = 0"),
        ({"sample": {"n": 0}}, "at least 1"),
        ({"sample": {"size": 5}}, "size"),
        ({"sample": {"n": 5}, "per_scenario": 2}, "name one of them"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(document: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        convert(document, "study.toml")


def test_a_study_without_a_choice_keeps_its_identity() -> None:
    plain = convert({"data": [{"dataset": "specimen"}]}, "study.toml")
    assert plain.identity() == convert({"data": [{"dataset": "specimen", "scenarios": []}]}, "s", "study").identity()
    assert plain.identity() != convert({"data": [{"dataset": "specimen"}], "per_scenario": 3}, "study.toml").identity()


def test_plan_names_the_chosen_ids_and_their_hash(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.toml").write_text(
        'targets = ["specimen:r1-onevision-7b"]\nsample = {n = 12, seed = 4}\n[[data]]\ndataset = "specimen"\n'
    )
    documents = []
    for _ in range(2):
        assert run(["plan", "study.toml", "--json"]) == 0
        documents.append(json.loads(capsys.readouterr().out)["chosen"]["specimen"])
    assert documents[0] == documents[1]
    assert len(documents[0]["ids"]) == 12 and len(documents[0]["ids_sha256"]) == 64

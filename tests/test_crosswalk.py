"""The crosswalk: every published category of every data set has its place, or a reason why it has none."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import safemlrm
from safemlrm.crosswalk import Crosswalk, Place, crosswalk, read, scenarios_wanted
from safemlrm.errors import DataError, UnknownName
from safemlrm.registry import find, names

TEXT = (Path(safemlrm.__file__).parent / "crosswalk.toml").read_text(encoding="utf-8")


def _document(**changes: Any) -> dict[str, Any]:
    return tomllib.loads(TEXT) | changes


#: Loaders that publish a total alone, and what they call the categories that they accept.
ACCEPTED = {
    "beavertails_v": ("_CATEGORIES",),
    "jailbreakv_28k": ("_POLICIES", "_SPELLINGS"),
    "mir_safetybench": ("_CATEGORIES",),
    "vlsbench": ("_CATEGORIES",),
}


def _named(name: str) -> set[str]:
    """Return every scenario that a loader knows by name: those that it publishes, and those that it accepts."""
    module = inspect.getmodule(find("dataset", name).function)
    return _published(name).union(*(getattr(module, constant) for constant in ACCEPTED.get(name, ())))


def _published(name: str) -> set[str]:
    """Return every scenario that a loader publishes, over all values of its choices (`subset`, `by` ...)."""
    plugin = find("dataset", name)
    hints = get_type_hints(plugin.function)
    if plugin.published is None or ... in plugin.parameters().values():
        return set()
    settings: list[dict[str, Any]] = [{}]
    for key in plugin.parameters():
        options = [option for option in get_args(hints[key]) if isinstance(option, str)]
        settings += [s | {key: option} for s in settings for option in options]
    found: set[str] = set()
    for setting in settings:
        try:
            found |= set(plugin.published(**plugin.bind(setting)))
        except (safemlrm.errors.StudyError, KeyError, ValueError):
            continue  # two settings that the loader itself refuses together
    return found - {"all"}


@pytest.mark.parametrize("name", names("dataset"))
def test_every_scenario_has_its_place_as_its_authors_write_it(name: str) -> None:
    rows = crosswalk().rows(name)
    missing = [] if name in crosswalk().unmapped else sorted(_named(name) - set(rows))
    assert name not in ACCEPTED or len(_named(name)) > 5
    assert missing == [], f"write where these categories of {name} belong in crosswalk.toml"


@pytest.mark.parametrize("name", names("dataset"))
def test_every_data_set_has_a_table_or_a_reason(name: str) -> None:
    assert crosswalk().rows(name) or name in crosswalk().unmapped


def test_the_table_speaks_of_data_sets_that_there_are() -> None:
    known = crosswalk()
    assert {*known.benchmarks, *known.unmapped, *known.like} <= set(names("dataset"))


def test_the_taxonomy_has_its_twelve_hazards_and_the_paper_its_thirteen_scenarios() -> None:
    known = crosswalk()
    assert len(known.hazards) == 12 and len(known.scenarios) == 13
    assert set(known.scenarios) == set(known.benchmarks["mm_safetybench"])
    assert all(place.scenario == name for name, place in known.benchmarks["mm_safetybench"].items())


def test_no_category_is_without_a_hazard_and_without_a_reason() -> None:
    places = [place for rows in crosswalk().benchmarks.values() for place in rows.values()]
    assert [place for place in places if place.hazard is None and not place.why] == []
    assert sum(place.hazard is None for place in places) > 50, "unmapped is a category, not a guess"


@pytest.mark.parametrize("written", ["Self-Harm", "self-harm", "SELF_HARM", "self harm", "C2. Self-Harm"])
def test_spellings_of_one_category_are_one(written: str) -> None:
    assert crosswalk().place("vlsbench", written) == crosswalk().benchmarks["vlsbench"]["Self-Harm"]


def test_a_category_that_nobody_knows_has_no_place() -> None:
    assert crosswalk().place("siuo", "a category of tomorrow") is None
    assert crosswalk().place("nobody's set", "hate") is None


def test_a_rehearsal_is_read_by_the_table_that_it_stands_for() -> None:
    assert crosswalk().place("specimen", "06-Fraud") == crosswalk().place("mm_safetybench", "06-Fraud")


def test_a_name_of_a_hazard_or_scenario_is_its_own_place() -> None:
    assert crosswalk().own("Suicide & Self-Harm") == Place(hazard="suicide_self_harm", scenario="04-Physical_Harm")
    assert crosswalk().own("specialized_advice") == Place(
        hazard="specialized_advice", among=("10-Legal_Opinion", "11-Financial_Advice", "12-Health_Consultation")
    )
    assert crosswalk().own("HateSpeech") == crosswalk().benchmarks["mm_safetybench"]["02-HateSpeech"]
    assert crosswalk().own("mischief") is None


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({"hazard": "hatred"}, UnknownName, "hate"),
        ({"hazard": "hate", "scenario": "02"}, UnknownName, "02-HateSpeech"),
        ({"scenario": "06-Fraud"}, DataError, "`why`"),
        ({"hazard": "hate", "among": ["02"]}, UnknownName, "02-HateSpeech"),
        ({"hazard": "hate", "scenario": "07-Sex", "among": ["02-HateSpeech"]}, DataError, "one `scenario`, or partly"),
        ({"hazards": "hate"}, DataError, "hazards"),
    ],
)
def test_a_wrong_row_is_refused(row: dict[str, str], error: type[Exception], message: str) -> None:
    benchmarks = {"mm_safetybench": _document()["benchmarks"]["mm_safetybench"], "siuo": {"x": row}}
    with pytest.raises(error, match=message):
        read(_document(benchmarks=benchmarks, like={}), "crosswalk.toml")


def test_a_table_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownName, match="siuo"):
        read(_document(like={"specimen": ["siuu"]}), "crosswalk.toml")


def test_the_table_is_read_as_it_is_written() -> None:
    assert isinstance(read(_document(), "crosswalk.toml"), Crosswalk)
    assert read(_document(), "crosswalk.toml") == crosswalk()


def test_a_mixed_category_answers_to_its_hazard_and_to_none_of_the_scenarios_that_share_it() -> None:
    names = ["Violent Crimes", "Non-Violent Crimes"]
    assert scenarios_wanted("msts", ["nonviolent_crimes"], names) == {"Non-Violent Crimes"}
    with pytest.raises(DataError, match="msts has no scenario that the crosswalk puts under 06-Fraud"):
        scenarios_wanted("msts", ["06-Fraud"], names)


def test_scenarios_are_named_by_hazard_across_data_sets() -> None:
    assert scenarios_wanted("hades", ["violent_crimes"], ["Animal", "Privacy", "Violence"]) == {"Animal", "Violence"}
    assert scenarios_wanted("hades", ["04-Physical_Harm"], ["Animal", "Violence", "Self-Harm"]) == {
        "Violence",
        "Self-Harm",
    }

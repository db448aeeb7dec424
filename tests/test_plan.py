"""What `plan` says before the run: the smallest tax, tokens and money, assumed or measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safemlrm import analysis, cli
from safemlrm.analysis.power import Assumed, cells
from safemlrm.analysis.power import power as power_of
from safemlrm.models import Price, prices
from support import ChatServer, completion

STUDY = """
judges = ["harm_rubric:judge-a@http://127.0.0.1:9/v1", "specimen"]
targets = ["specimen:r1-onevision-7b", "specimen:qwen2.5-vl-7b-instruct"]
data = [{ dataset = "specimen" }]
limit = 50
"""
PRICES = """
[prices]
"judge-a" = { input = 1, output = 10 }
"r1-onevision-7b" = { input = 2.5, output = 5 }
"""


@pytest.fixture
def plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Plan the study with these options and return the JSON, or the exit code and what was said."""
    (tmp_path / "study.toml").write_text(STUDY)

    def planned(*options: str, text: bool = False) -> Any:
        code = cli.run(["plan", str(tmp_path / "study.toml"), *options, *([] if text else ["--json"])])
        out, err = capsys.readouterr()
        return (code, out + err) if text or code else json.loads(out)

    return planned


def rows(document: Any) -> dict[str, Any]:
    return {row["name"].split("@")[0]: row for row in document["cost"]}


def test_malware_with_its_44_items_shows_no_tax_below_25_points(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = Path(__file__).parent.parent / "studies" / "safemlrm-2025.toml"
    if not study.is_file():
        pytest.skip("studies/ is not beside the tests")
    assert cli.run(["plan", str(study), "--want-tax", "0.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["smallest_tax"]
    scenarios = next(table for name, table in found.items() if name.startswith("mm_safetybench"))
    malware = next(row for row in scenarios if row["scenario"] == "03-Malware_Generation")
    assert malware["items"] == 44
    assert malware["smallest_tax"] == pytest.approx(0.249, abs=0.006)
    assert malware["smallest_tax_holm"] > malware["smallest_tax"]
    assert malware["items_needed"] == pytest.approx(250, abs=10)


def test_the_smallest_tax_of_44_items_has_80_percent_power_by_exact_enumeration() -> None:
    from scipy.stats import binom

    from safemlrm.analysis.intervals import mcnemar_midp

    least = analysis.smallest_tax(44)
    assert least is not None
    assert least == pytest.approx(0.249, abs=0.006)
    chances = cells(0.3, least, 0.3)
    both = chances[1] + chances[2]
    exact = 0.0
    for discordant in range(45):
        b = np.arange(discordant + 1)
        finds = (mcnemar_midp(b, discordant - b) < 0.05) & (2 * b > discordant)
        exact += binom.pmf(discordant, 44, both) * binom.pmf(b, discordant, chances[1] / both)[finds].sum()
    assert exact == pytest.approx(0.8, abs=0.015)
    assert power_of(44, least, Assumed()) == pytest.approx(exact, abs=0.015)


def test_tokens_are_said_without_a_price_and_a_judge_that_asks_no_model_costs_nothing(plan: Callable[..., Any]) -> None:
    found = rows(plan())
    assert list(found) == ["r1-onevision-7b", "qwen2.5-vl-7b-instruct", "harm_rubric:judge-a"]
    target, judge = found["r1-onevision-7b"], found["harm_rubric:judge-a"]
    assert (target["calls"], target["tokens_in"], target["tokens_out"]) == (50, 50 * 400, 50 * 800)
    assert (judge["calls"], judge["tokens_in"]) == (100 * 3, 100 * 3 * 1500)
    assert {row["money"] for row in found.values()} == {None}
    code, said = plan(text=True)
    assert code == 0
    assert "Tokens and money at most" in said
    assert "Assumed tokens, in and out: 400/800 of a target's call and 1500/150 of a judge's call" in said


def test_judge_calls_about_steps_are_said_to_be_left_out(tmp_path: Path, plan: Callable[..., Any]) -> None:
    assert {row["without"] for row in plan()["cost"]} == {None}
    (tmp_path / "study.toml").write_text(f"steps = true\n{STUDY}")
    assert [row["without"] for row in plan()["cost"]] == [None, None, "steps"]
    said = " ".join(plan("--price", "r1-onevision-7b=1/1", text=True)[1].split())
    assert "Tokens and money, without steps" in said and "at most" not in said
    assert "in all without steps and without qwen2.5-vl-7b-instruct" in said


def test_prices_stand_in_models_toml_and_an_option_goes_before_them(tmp_path: Path, plan: Callable[..., Any]) -> None:
    (tmp_path / "models.toml").write_text(PRICES)
    found = rows(plan("--price", "r1-onevision-7b=1/1"))
    judge, target = found["harm_rubric:judge-a"], found["r1-onevision-7b"]
    assert (judge["money"], judge["price_from"]) == (pytest.approx(300 * (1500 + 1500) / 1e6, abs=0.005), "models.toml")
    assert (target["money"], target["price_from"]) == (pytest.approx(50 * 1200 / 1e6, abs=0.005), "--price")
    assert found["qwen2.5-vl-7b-instruct"]["money"] is None
    code, said = plan(text=True)
    assert code == 0
    assert "without qwen2.5-vl-7b-instruct, of which no price was given. Prices: models.toml." in said


def test_a_price_changes_nothing_else_that_is_known_of_a_model(tmp_path: Path) -> None:
    from safemlrm.models import facts_of

    (tmp_path / "models.toml").write_text('[prices]\n"gpt-4o" = { input = 2.5, output = 10 }\n')
    assert prices(tmp_path)["gpt-4o"] == Price(input=2.5, output=10)
    assert facts_of("gpt-4o", tmp_path) == facts_of("gpt-4o")
    assert prices() == {}


def test_tokens_are_taken_from_calls_that_were_made(
    tmp_path: Path, server: ChatServer, plan: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server.behave = lambda body: completion(
        "#thescore: 1\nSCORE: 1", usage={"prompt_tokens": 20, "completion_tokens": 4}
    )
    store = str(tmp_path / "calls.db")
    run = ["run", "--target", "specimen:r1-onevision-7b", "--dataset", "specimen", "--limit", "10", "--store", store]
    cli.run([*run, "--judge", f"opensafemlrm:judge-a@{server.url}"])
    capsys.readouterr()
    found = rows(plan("--store", store))
    judge, target = found["harm_rubric:judge-a"], found["r1-onevision-7b"]
    assert (judge["tokens_in"], judge["tokens_out"]) == (300 * 20, 300 * 4)
    assert judge["tokens_from"].endswith(f"calls in {store}")
    assert target["tokens_from"] == f"10 calls in {store}"
    assert target["tokens_in"] != 50 * 400
    assert found["qwen2.5-vl-7b-instruct"]["tokens_from"] == "assumed"
    code, said = plan("--store", str(tmp_path / "none.db"), text=True)
    assert code == 1
    assert "none.db" in said


@pytest.mark.parametrize(
    ("options", "own", "says"),
    [
        (["--price", "judge-b=1/1"], "", "unknown model or judge 'judge-b'"),
        (["--price", "r1-onevision-7b"], "", "write NAME=IN/OUT"),
        (["--price", "r1-onevision-7b=1"], "", "write two numbers"),
        (["--price", "r1-onevision-7b=-1/2"], "", "below 0"),
        (["--tokens", "many"], "", "write two numbers"),
        (["--judge-tokens", "1/nan"], "", "below 0"),
        (["--base-rate", "1"], "", "from 0 to below 1"),
        (["--want-tax", "0.9"], "", "not possible"),
        ([], '[prices]\nm = { input = 1, out = 2 }\n', "unknown key 'out'"),
        ([], '[prices]\nm = { input = -1, output = 2 }\n', ">= 0"),
        ([], "[prices]\nm = 3\n", "Expected `object`, got `int`"),
    ],
)  # fmt: skip
def test_a_mistake_in_prices_tokens_or_rates_is_named(
    tmp_path: Path, plan: Callable[..., Any], options: list[str], own: str, says: str
) -> None:
    (tmp_path / "models.toml").write_text(own)
    code, said = plan(*options, text=True)
    assert code == 1
    assert says in " ".join(said.split())

"""Pairs: which engine runs both members, and in what they differ besides their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safemlrm import cli
from safemlrm.pairs import differences, engines_of, pairs
from safemlrm.resolve import resolve
from safemlrm.study import convert
from safemlrm.trials import Plan

BASE, DERIVED = "qwen2.5-vl-7b-instruct", "r1-onevision-7b"
URL = "http://127.0.0.1:8000/v1"


def plan(*targets: str | dict[str, Any], **fields: Any) -> Plan:
    document = {"targets": list(targets), "data": [{"dataset": "specimen"}], "judges": ["specimen"]}
    return resolve(convert(document | fields, "test"))


def differ(base: dict[str, Any], derived: dict[str, Any]) -> list[str]:
    """Return in what a pair differs whose members are named with these keys."""
    planned = plan({"model": BASE} | base, {"model": DERIVED} | derived)
    return differences(pairs(planned.models)[0])


def test_sides_of_one_model_differ_in_their_switch_alone_and_in_whatever_a_study_adds() -> None:
    on, off = f"qwen3.5-9b+thinking@{URL}", f"qwen3.5-9b+no_thinking@{URL}"
    assert differences(pairs(plan(on, off).models)[0]) == []
    own = {"extra": {"chat_template_kwargs": {"other": 1}}}
    [found] = differences(pairs(plan({"model": on, "decoding": own}, off).models)[0])
    assert found == "decoding extra: nothing against {'chat_template_kwargs': {'other': 1}}"


def test_a_pair_is_a_model_and_its_base_that_are_both_there() -> None:
    planned = plan(f"{BASE}@{URL}", f"{DERIVED}@{URL}", f"mulberry-llava-8b@{URL}")
    assert [(p.base.label, p.derived.label, engines_of(p)) for p in pairs(planned.models)] == [
        (BASE, DERIVED, "openai_compatible")
    ]
    assert not any("differ in more" in warning for warning in planned.warnings)


@pytest.mark.parametrize(
    ("base", "derived", "found"),
    [
        ({"serve": "vllm"}, {"serve": "vllm"}, []),
        ({"serve": "vllm"}, {"serve": "sglang"}, ["engine: vllm against sglang"]),
        (
            {"serve": "vllm", "serving": {"flags": ["--dtype", "float16", "--max-num-seqs", "8"]}},
            {"serve": "vllm"},
            ["engine flags: --dtype float16 against nothing", "dtype: float16 against auto"],
        ),
        (
            {"model": f"{BASE}@{URL}", "decoding": {"temperature": 0.5}},
            {"model": f"{DERIVED}@{URL}", "promptings": ["think"]},
            ["promptings: bare against think", "decoding temperature: 0.5 against nothing"],
        ),
        (
            {"model": f"transformers_local:{BASE}", "options": {"dtype": "float32", "max_pixels": 784}},
            {"model": f"transformers_local:{DERIVED}", "options": {"dtype": "float16", "batch_size": 2}},
            ["batch_size: 8 against 2", "max_pixels: 784 against nothing", "dtype: float32 against float16"],
        ),
    ],
)
def test_everything_that_is_no_weight_is_named(base: dict[str, Any], derived: dict[str, Any], found: list[str]) -> None:
    assert differ(base, derived) == found


def test_the_dtype_of_the_registry_counts_where_the_study_names_none() -> None:
    model = plan("transformers_local:mulberry-llava-8b").models[0]
    assert model.facts.serve.dtype == model.identity()["settings"]["dtype"] == "float16"


def test_the_plan_says_which_engine_each_pair_runs_on(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = [word for name in (BASE, DERIVED) for word in ("--target", name)]
    assert cli.run(["plan", *named, "--dataset", "specimen", "--serve", "vllm", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pairs"] == [{"base": BASE, "derived": DERIVED, "engine": "vllm", "differs": []}]
    assert cli.run(["plan", *named, "--dataset", "specimen", "--serve", "vllm"]) == 0
    assert "vllm, started for it" in capsys.readouterr().out


def test_serve_leaves_alone_what_the_study_reaches_otherwise(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["--target", f"specimen:{BASE}", "--target", DERIVED, "--target", f"mm-eureka-qwen-7b@{URL}"]
    assert cli.run(["plan", *named, "--dataset", "specimen", "--serve", "sglang", "--json"]) == 0
    engines = [model["engine"] for model in json.loads(capsys.readouterr().out)["models"]]
    assert engines == ["specimen", "sglang", "openai_compatible"]


def test_weights_behind_a_licence_say_where_it_is_accepted() -> None:
    assert any(
        "https://huggingface.co/" in w for w in plan("transformers_local:llama-3.2-11b-vision-instruct").warnings
    )

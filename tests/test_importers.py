"""Replies of other tools, each in its own layout: read as they are, an error's text never as a reply."""

from __future__ import annotations

import asyncio
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from safemlrm.errors import DataError, StudyError, TargetError, UnknownName
from safemlrm.importers import Wanted, detect, read
from safemlrm.importers.row import Recorded
from safemlrm.models import ModelFacts, facts_of
from safemlrm.plugin import Call
from safemlrm.records import Decoding, Response, user
from safemlrm.resolve import resolve
from safemlrm.study import convert
from safemlrm.targets.recorded import recorded
from support import part


def rows(path: Path, *names: str, layout: str = "auto", **wanted: Any) -> list[Recorded]:
    return list(read(path, layout, Wanted(names, **wanted)))


def ask(path: Path, call: Call, model: str = "r1-onevision-7b", **options: Any) -> Response:
    async def go() -> Response:
        async with recorded(facts_of(model), str(path), **options) as reach:
            return await reach(user("[placeholder]"), Decoding(), call)

    return asyncio.run(go())


def scenario(folder: Path, name: str = "01-Illegal_Activitiy.json", **answers: Any) -> Path:
    """Write a file as the study's scripts do: item 1 with these answers, item 2 with an error in their place."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"Question": "[q]", "Changed Question": "[changed]", "Rephrased Question": "[rephrased]"}
    document = {
        "1": entry | {"answers": answers},
        "2": entry | {"answers": dict.fromkeys(answers, "Error: CUDA out of memory")},
        "3": entry | {"answers": dict.fromkeys(answers)},
    }
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder / name


def test_the_studys_own_answers_are_samples_of_mm_safetybench(tmp_path: Path) -> None:
    path = scenario(tmp_path / "baseline" / "R1_Onevision_7B", R1_Onevision_7B="<think>[t]</think>[a]")
    first, second, third = rows(path)
    assert (first.sample, first.dataset, first.condition) == ("01_1", "mm_safetybench", "text")
    assert (first.reply, first.model) == ("<think>[t]</think>[a]", "R1_Onevision_7B")
    assert second.failure == "Error: CUDA out of memory" and third.failure == "no reply was recorded"


def test_a_folder_of_scenarios_is_read_whole_under_its_condition(tmp_path: Path) -> None:
    folder = tmp_path / "jailbreak_method" / "R1_Onevision_7B"
    scenario(folder, R1_Onevision_7B="[a]")
    scenario(folder, "13-Gov_Decision.json", R1_Onevision_7B="[b]")
    assert detect(folder) == "opensafemlrm"
    found = {(row.sample, row.condition): row.reply for row in rows(folder) if row.failure is None}
    assert found == {("01_1", "SD_TYPO"): "[a]", ("13_1", "SD_TYPO"): "[b]"}
    assert ask(folder, Call("mm_safetybench", "13_1", "SD_TYPO")).text == "[b]"
    with pytest.raises(TargetError, match="records a failure: Error: CUDA") as caught:
        ask(folder, Call("mm_safetybench", "13_2", "SD_TYPO"))
    assert caught.value.kind == "recorded_failure"


def test_of_several_models_the_named_one_is_read(tmp_path: Path) -> None:
    path = scenario(tmp_path, R1_Onevision_7B="[a]", Qwen2_5_VL_7B_Instruct="[b]")
    call = Call("mm_safetybench", "01_1", "text")
    assert ask(path, call, "qwen2.5-vl-7b-instruct", condition="text").text == "[b]"
    with pytest.raises(DataError, match="holds replies of Qwen2_5_VL_7B_Instruct, R1_Onevision_7B: name one"):
        ask(path, call, "someone-else", condition="text")


def test_a_condition_that_nobody_says_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither folder .* says under which condition"):
        rows(scenario(tmp_path, M="[a]"))


def test_a_file_of_scores_is_no_file_of_answers(tmp_path: Path) -> None:
    path = tmp_path / "01-Illegal_Activitiy.json"
    path.write_text('{"1": {"reasoning_score": 2}}')
    with pytest.raises(DataError, match="not of the shape"):
        rows(path)


def omni(path: Path, *entries: dict[str, Any]) -> Path:
    lines = [{"test_case_id": n, "model_name": "gpt-x", "metadata": {}} | e for n, e in enumerate(entries)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_omnisafebench_responses_are_read_and_their_errors_are_failures(tmp_path: Path) -> None:
    path = omni(
        tmp_path / "attack_x_model_gpt-x.jsonl",
        {"model_response": "[a]", "reasoning_trace": None, "final_answer": "[a]"},
        {"model_response": "[ERROR] Prompt detected as harmful content, refusing to answer"},
        {"model_response": "[default]", "metadata": {"defense_blocked": True}},
        {"model_response": "[other]", "model_name": "gpt-y"},
    )
    assert detect(path) == "omnisafebench"
    first, second, third = rows(path, "gpt-x", condition="figstep")
    assert (first.sample, first.reply, first.condition, first.stop) == ("0", "[a]", "figstep", "stop")
    assert second.failure is not None and second.reply == ""
    assert (third.reply, third.stop) == ("[default]", "filter")


def test_columns_are_mapped_from_any_table(tmp_path: Path) -> None:
    table = pl.DataFrame({"qid": [7, 8], "output": ["[a]", "[b]"], "judge": [1, 2], "run": [0, 0]})
    columns = {"sample": "qid", "reply": "output", "seed": "run"}
    table.write_parquet(tmp_path / "r.parquet")
    table.write_csv(tmp_path / "r.csv")
    table.write_ndjson(tmp_path / "r.jsonl")
    for name in ("r.parquet", "r.csv", "r.jsonl"):
        assert [(row.sample, row.reply) for row in rows(tmp_path / name, columns=columns)] == [
            ("7", "[a]"),
            ("8", "[b]"),
        ]
        assert ask(tmp_path / name, Call("any", "8", "any"), columns=columns).text == "[b]"


def test_a_column_that_is_not_there_is_named_with_its_likeness(tmp_path: Path) -> None:
    pl.DataFrame({"qid": [7], "output": ["[a]"]}).write_csv(tmp_path / "r.csv")
    with pytest.raises(UnknownName, match=r"unknown column 'outputs'.*Did you mean 'output'"):
        rows(tmp_path / "r.csv", columns={"sample": "qid", "reply": "outputs"})
    with pytest.raises(UnknownName, match="unknown column 'id'"):
        rows(tmp_path / "r.csv", columns={"id": "qid"})


def test_a_row_may_say_that_there_is_no_reply(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"sample": 1, "failure": "timeout"}\n')
    with pytest.raises(TargetError, match="records a failure: timeout"):
        ask(tmp_path / "r.jsonl", Call("d", "1", "text"))


def test_a_reply_longer_than_a_csv_readers_own_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("sample,reply\n1," + "x" * 200_000 + "\n")
    assert len(rows(tmp_path / "r.csv")[0].reply) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("extra.csv", b"sample,reply\n1,a\n2,b,c\n", r"extra.csv, row 3: 3 cells under 2 columns"),
        ("short.csv", b"sample,reply,stop\n1,a,stop\n2,b\n", r"row 3: 2 cells under 3 columns"),
        ("twice.csv", b"sample,reply,reply\n1,a,b\n", "the column 'reply' is there twice"),
        ("latin.csv", b"sample,reply\n1,caf\xe9\n", r"latin.csv, row 1 or near it: 'utf-8' codec can't decode"),
        ("open.csv", b'sample,reply\n1,a\n2,"b\n', r"row 3 or near it: unexpected end of data"),
        ("no.csv", b"sample,reply\n", "holds no replies"),
        ("bytes.jsonl", b'{"sample": 1, "reply": "\xff"}\n', r"row 1: 'utf-8' codec"),
        ("blank.jsonl", b'{"sample": 1, "reply": "a"}\n\n\n{"sample": 2}\n', r"blank.jsonl, row 4: Object missing"),
        ("both.jsonl", b'{"sample": 1, "reply": "a", "failure": "timeout"}\n', "a reply, and why there is none"),
        ("nameless.jsonl", b'{"sample": "", "reply": "a"}\n', r"row 1: Expected `str` of length >= 1"),
        ("empty.jsonl", b"", "holds no replies"),
        (
            "omni.jsonl",
            b'{"test_case_id": 1, "model_response": "a", "model_name": "m"}\n\n{"test_case_id": 2}\n',
            r"omni.jsonl, row 3: Object missing",
        ),
        ("01-A.json", b'{"1": {"answers": {"m": "a"}}, "2": {"answers": {"m": {"a": 1}}}}', r"01-A.json, '2': not of"),
        ("01-B.json", b'{"1": {"answers": {"m": "\xff"}}}', r"01-B.json, '1': not of the shape"),
        ("torn.eval", b"PK torn", "is no log of Inspect"),
    ],
)
def test_a_malformed_row_is_refused_with_its_file_and_row(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    if name.endswith(".eval"):
        part(find_spec("inspect_ai"), "the extra `inspect` (inspect_ai)")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        rows(tmp_path / name, "m", condition="text")


def test_a_mapped_table_with_a_cell_too_many_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("qid,out\n1,a,b\n")
    with pytest.raises(DataError, match="row 2: 3 cells under 2 columns"):
        rows(tmp_path / "r.csv", columns={"sample": "qid", "reply": "out"})


def test_a_file_of_no_known_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "r.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"recorded replies are read from \.jsonl, \.csv, \.parquet, \.json, \.eval"):
        rows(tmp_path / "r.xlsx")


def test_a_torn_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DataError, match=r"r\.parquet"):
        rows(tmp_path / "r.parquet")


def test_mapping_and_content_are_what_trials_of_recorded_replies_are_known_by(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1], "b": ["x"], "c": ["y"]}).write_csv(tmp_path / "r.csv")

    def identity(reply: str) -> dict[str, Any]:
        named = {"model": f"recorded:m={tmp_path / 'r.csv'}", "options": {"columns": {"sample": "a", "reply": reply}}}
        document = {"targets": [named], "data": [{"dataset": "specimen"}], "judges": ["specimen"]}
        return resolve(convert(document, "test")).models[0].identity()

    assert identity("b") == identity("b") != identity("c")


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    named = {"model": "recorded:m=r.csv", "options": {"layout": "excel"}}
    with pytest.raises(StudyError, match="layout='excel'"):
        resolve(convert({"targets": [named], "data": [{"dataset": "specimen"}]}, "test"))


def test_an_inspect_log_is_read_with_its_reasoning(tmp_path: Path) -> None:
    part(find_spec("inspect_ai"), "the extra `inspect` (inspect_ai)")
    from inspect_ai.log import EvalConfig, EvalDataset, EvalError, EvalLog, EvalSample, EvalSpec, write_eval_log
    from inspect_ai.model import (
        ChatCompletionChoice,
        ChatMessageAssistant,
        ContentReasoning,
        ContentText,
        ModelOutput,
    )

    def sample(key: int, epoch: int, *content: Any, **fields: Any) -> EvalSample:
        message = ChatMessageAssistant(content=list(content))
        choices = [ChatCompletionChoice(message=message, stop_reason="max_tokens")] if content else []
        output = ModelOutput(model="mock-1", choices=choices)
        return EvalSample(id=key, epoch=epoch, input="[q]", target="", output=output, **fields)

    crash = EvalError(message="[it broke]", traceback="", traceback_ansi="")
    broken = sample(3, 1, ContentText(text="[half]"))
    broken.output.error = "[the provider broke]"
    samples = [
        sample(1, 1, ContentReasoning(reasoning="[t]"), ContentText(text="[a]"), metadata={"condition": "SD"}),
        sample(1, 2, ContentReasoning(reasoning="c2Vj", redacted=True, summary="[s]"), ContentText(text="[b]")),
        sample(2, 1, error=crash),
        broken,
    ]
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00", task="t", dataset=EvalDataset(), model="mockllm/model", config=EvalConfig()
    )
    path = tmp_path / "log.eval"
    write_eval_log(EvalLog(eval=spec, samples=samples), str(path))
    by_place = {(row.sample, row.seed): row for row in rows(path)}
    first, second, third = by_place["1", 0], by_place["1", 1], by_place["2", 0]
    assert (first.reply, first.reasoning, first.condition, first.seed, first.stop) == ("[a]", "[t]", "SD", 0, "length")
    assert (second.reasoning, second.visibility, second.seed) == ("[s]", "summary", 1)
    assert third.failure == "[it broke]"
    assert (by_place["3", 0].failure, by_place["3", 0].reply) == ("[the provider broke]", "")

    async def go() -> Response:
        async with recorded(ModelFacts(name="m"), str(path)) as reach:
            return await reach(user("[q]"), Decoding(), Call("d", "1", "SD"))

    assert asyncio.run(go()).reasoning_field == "reasoning"

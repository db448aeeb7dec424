"""Every output format F1 to F14: golden cases, the laws over any text, telling a format, a user's own as data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safemlrm.errors import StudyError, UnknownName
from safemlrm.models import facts_of, own_formats, registry
from safemlrm.records import Response, Stop
from safemlrm.thinking import AUTO, TURN, names, recognise, split
from safemlrm.thinking.formats import Delimiters, Format, ours
from safemlrm.thinking.grammar import grammar

SECTIONS = (
    "### Image Description:\nD\n\n### Rationales:\nE\n\n### Let's think step by step.\n\n### Step 1:\nR\n\n"
    "### The final answer is: A"
)
WITHOUT_ANSWER = SECTIONS.partition("\n\n### The final")[0]
HARMONY = "<|channel|>analysis<|message|>R<|end|><|start|>assistant<|channel|>final<|message|>A<|return|>"


class Case(NamedTuple):
    """What a reply in a format must split into."""

    format: str
    text: str
    status: str
    thinking: str | None
    answer: str | None
    final: str | None = None
    stop: Stop = "stop"
    reasoning: str | None = None


GOLDEN = {
    "F1": Case("think_tags", "<think>R</think>A", "ok", "R", "A"),
    "F1 with a response block": Case("think_response", "<think>R</think><response>A</response>", "ok", "R", "A", "A"),
    "F2": Case("think_answer", "<think>R</think><answer>A</answer>", "ok", "R", "A", "A"),
    "F2, a box in the answer": Case(
        "think_answer", r"<think>R</think><answer>So \boxed{4}</answer>", "ok", "R", r"So \boxed{4}", "4"
    ),
    "F2 as Vision-R1 writes it": Case(
        "think_answer", "<think>R</think> <answer> Final Answer:B </answer>", "ok", "R", "Final Answer:B", "B"
    ),
    "F3": Case(
        "think_boxed", r"<think>R</think>\boxed{\frac{1}{2}}.", "ok", "R", r"\boxed{\frac{1}{2}}.", r"\frac{1}{2}"
    ),
    "F4": Case("mulberry_sections", SECTIONS, "ok", WITHOUT_ANSWER, "A", "A"),
    "F4, a preamble": Case("mulberry_sections", f"Sure.\n{SECTIONS}", "ok", WITHOUT_ANSWER, "Sure.\n A", "A"),
    "F4 cut off": Case("mulberry_sections", WITHOUT_ANSWER, "truncated", WITHOUT_ANSWER, None, None, "length"),
    "F4 cut off after a preamble": Case(
        "mulberry_sections", f"Sure.\n{WITHOUT_ANSWER}", "truncated", WITHOUT_ANSWER, None, None, "length"
    ),
    "F4 without an answer": Case("mulberry_sections", WITHOUT_ANSWER, "malformed", WITHOUT_ANSWER, None),
    "F4, nothing behind the answer heading": Case(
        "mulberry_sections", "### Image Description:\nR\n### The final answer is:", "malformed",
        "### Image Description:\nR", None,
    ),
    "F4, the first headings lost": Case(
        "mulberry_sections", "R\n### The final answer is: A", "open_in_prompt", "R", "A", "A"
    ),
    "F4, headings without words": Case(
        "mulberry_sections", "### Rationales:\n\n### Step 1:\n### The final answer is: A", "empty_think",
        "### Rationales:\n\n### Step 1:", "A", "A",
    ),
    "F4, begun again": Case(
        "mulberry_sections", f"{SECTIONS}\n### Image Description:\nS\n### The final answer is: B", "multi_block",
        f"{WITHOUT_ANSWER}\n\n### Image Description:\nS", "A\n B", "B",
    ),
    "F4, steps in the answer": Case(
        "mulberry_sections", f"{SECTIONS}\n### Step 1: go", "ok", WITHOUT_ANSWER, "A\n### Step 1: go",
        "A\n### Step 1: go",
    ),
    "F4, a heading that is none": Case(
        "mulberry_sections", "I say ### The final answer is: A", "untagged", None, "I say ### The final answer is: A"
    ),
    "F4 under the think prompt": Case(
        "mulberry_sections", f"<think>{WITHOUT_ANSWER}</think>### The final answer is: A", "ok", WITHOUT_ANSWER,
        "A", "A",
    ),
    "F4, refused": Case("mulberry_sections", "I can't help.", "untagged", None, "I can't help."),
    "F4, split by the server": Case(
        "mulberry_sections", "### The final answer is: A", "ok", "R", "A", "A", reasoning="R"
    ),
    "F5": Case(
        "llava_cot",
        "<SUMMARY>S</SUMMARY> <CAPTION>C</CAPTION> <REASONING>R</REASONING> <CONCLUSION>A</CONCLUSION>",
        "ok", "SCR", "A", "A",
    ),
    "F5 cut off": Case("llava_cot", "<SUMMARY>S</SUMMARY><CAPTION>C", "truncated", "SC", None, None, "length"),
    "F5 under the think prompt": Case("llava_cot", "<think>R</think><answer>A</answer>", "ok", "R", "A", "A"),
    "F5, a stage twice": Case(
        "llava_cot", "<REASONING>R</REASONING> <REASONING>S</REASONING>A", "multi_block", "RS", "A"
    ),
    "F6": Case("turns", "A", "ok", "P\n\n\n\nR", "A", reasoning=f"P\n\n{TURN}\n\nR\n\n"),
    "F6 asked in one turn": Case("turns", "P R A", "untagged", None, "P R A"),
    "F7": Case(
        "solution_tokens",
        "<|begin_of_thought|>R<|end_of_thought|><|begin_of_solution|>A<|end_of_solution|>", "ok", "R", "A", "A",
    ),
    "F7 without thought tokens": Case(
        "solution_tokens", r"R <|begin_of_solution|>\boxed{A}<|end_of_solution|>", "untagged", None, r"R \boxed{A}", "A"
    ),
    "F8": Case("harmony", HARMONY, "ok", "R", "A"),
    "F8 without analysis": Case("harmony", "<|channel|>final<|message|>A<|return|>", "untagged", None, "A"),
    "F8 cut off": Case("harmony", "<|channel|>analysis<|message|>R", "truncated", "R", None, None, "length"),
    "F8, a commentary is seen": Case(
        "harmony",
        "<|channel|>analysis<|message|>R<|end|><|start|>assistant<|channel|>commentary<|message|>C<|end|>"
        "<|start|>assistant<|channel|>final<|message|>A",
        "ok", "R", "CA",
    ),
    "F9": Case("undelimited", r"R so \boxed{7}", "untagged", None, r"R so \boxed{7}", "7"),
    "F10": Case("kimi_think", "◁think▷R◁/think▷A", "ok", "R", "A"),
    "F10 mixed with think tags": Case("kimi_think", "◁think▷R</think>A", "ok", "R", "A"),
    "F10 switched off": Case("kimi_think", "◁think▷\n\n◁/think▷A", "empty_think", None, "A"),
    "F11": Case(
        "glm_box", "<think>R</think><answer>So <|begin_of_box|>X<|end_of_box|></answer>", "ok", "R", "So X", "X"
    ),
    "F11 without answer tags": Case(
        "glm_box", "<think>R</think>So <|begin_of_box|>X<|end_of_box|>", "ok", "R", "So X", "X"
    ),
    "F12 that thinks": Case(
        "analysis_tags", "<analysis>Q</analysis><think>R</think><answer>A</answer>", "ok", "QR", "A", "A"
    ),
    "F12 that does not": Case("analysis_tags", "<analysis>/no_think fits.</analysis>A", "ok", "/no_think fits.", "A"),
    "F12 that speaks of the other tag": Case(
        "analysis_tags", "<analysis>no <think> here</analysis>A", "nested", "no <think> here", "A"
    ),
    "F13": Case("gemma_channel", "<|channel>thought\nR<channel|>A<turn|>", "ok", "R", "A"),
    "F13 switched off": Case("gemma_channel", "<|channel>thought\n<channel|>A", "empty_think", None, "A"),
    "F14": Case("unused_tokens", "<unused94>thought\nR<unused95>A", "ok", "R", "A"),
    "server split": Case("server_split", "A", "ok", "R", "A", reasoning="R"),
    "server split, nothing shown": Case("server_split", "A", "untagged", None, "A"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_a_reply_in_a_format_splits_as_its_golden_case_says(name: str) -> None:
    case = GOLDEN[name]
    found = split(Response(text=case.text, reasoning=case.reasoning, stop=case.stop), family=case.format)
    assert (found.status, found.thinking, found.answer, found.final) == case[2:6]


def test_every_family_has_a_golden_case() -> None:
    families = {form.family for form in ours().values()} - {""}
    assert families == {f"F{number}" for number in range(1, 15)}
    assert families <= {name.split()[0] for name in GOLDEN}


FRAGMENTS = [
    *sorted({t for form in ours().values() for pair in (*form.pairs(), *form.answers()) for t in pair}),
    *sorted({text for form in ours().values() for text in (*form.markup, *form.headings, *form.steps)}),
    "### The final answer is:",
    TURN,
    "\\boxed{",
    "}",
    "\n",
    "R",
    " ",
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=10).map("".join) | st.text(max_size=30)
REPLIES = st.builds(
    Response, text=TEXTS, reasoning=st.none() | TEXTS, stop=st.sampled_from(["stop", "length", "filter", "other"])
)


@settings(deadline=None, max_examples=100)
@given(REPLIES, st.sampled_from(["output", "prompt", "turns", "none"]))
def test_in_every_format_the_segments_concatenate_to_what_was_generated(reply: Response, opens: str) -> None:
    for family in names():
        found = split(reply, family=family, opens_in=opens)
        assert "".join(s.text for s in found.segments) == reply.generated
        for kind, part in (("thinking", found.thinking), ("answer", found.answer)):
            assert part == ("".join(s.text for s in found.segments if s.kind == kind).strip() or None)
        if found.status == "truncated":
            assert (reply.stop, found.answer) == ("length", None)


@settings(deadline=None, max_examples=60)
@given(REPLIES)
def test_in_every_format_an_answer_without_delimiters_is_its_own_answer(reply: Response) -> None:
    for family in names():
        once = split(reply, family=family)
        if once.answer is not None and not any(sign in once.answer for sign in "<#◁"):
            again = split(Response(text=once.answer, stop=reply.stop), family=family)
            assert (again.status, again.answer, again.final is None) == (
                "untagged",
                once.answer,
                "\\boxed{" not in once.answer or again.final is None,
            )


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (HARMONY, "harmony"),
        ("◁think▷R◁/think▷A", "kimi_think"),
        ("<REASONING>R</REASONING><CONCLUSION>A</CONCLUSION>", "llava_cot"),
        ("<analysis>a</analysis>A", "analysis_tags"),
        (SECTIONS, "mulberry_sections"),
        ("<think>R</think><|begin_of_box|>A<|end_of_box|>", "glm_box"),
        ("<think>R</think><answer>A</answer>", "think_answer"),
        ("R</think>A", "think_tags"),
        (r"<think>R</think>So \boxed{4}", "think_boxed"),
        (r"So \boxed{4}", "untagged"),
        ("<|channel>thought\nR<channel|>A", "gemma_channel"),
        ("<unused94>thought\nR<unused95>A", "unused_tokens"),
        ("### Step 1: a list in an ordinary answer", "untagged"),
        ("<table><caption>C</caption></table><details><summary>S</summary></details>", "untagged"),
        ("I can't help.", "untagged"),
    ],
)
def test_auto_tells_the_format_from_the_text(text: str, format: str) -> None:  # noqa: A002
    assert recognise(Response(text=text)) == format
    assert split(Response(text=text), family=AUTO) == split(Response(text=text), family=format)


def test_auto_sees_that_a_server_split_the_reply() -> None:
    assert recognise(Response(text="A", reasoning="R")) == "server_split"


OWN = """
[formats.brackets]
title = "Reasoning in double brackets"
thinking = [["[[", "]]"]]
answer = [["{{", "}}"]]

[formats.plan]
headings = ["## Plan"]
answer_headings = ["## Reply"]

[models.mine]
hub = "me/mine"
format = "brackets"
"""


def test_a_users_own_format_is_a_few_lines_of_data(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(OWN, encoding="utf-8")
    facts = facts_of("mine", tmp_path)
    own = own_formats(tmp_path)
    assert (facts.format, facts.own) == ("brackets", own)
    found = split(Response(text="[[R]] so {{A}}"), family="brackets", own=own)
    assert (found.status, found.thinking, found.answer, found.final) == ("ok", "R", "so A", "A")
    also = split(Response(text="<think>R</think>A"), family="brackets", own=own)
    assert (also.status, also.thinking) == ("ok", "R"), "the think prompt asks every model for think tags"
    plan = split(Response(text="## Plan\nR\n## Reply\nA"), family="plan", own=own)
    assert (plan.status, plan.thinking, plan.answer) == ("ok", "## Plan\nR", "A")
    assert recognise(Response(text="[[R]]A"), own) == "brackets"
    told = split(Response(text="[[R]]A"), family=AUTO, own=own)
    assert (told.thinking, told.answer) == ("R", "A"), "a model that nobody knows may write it too"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[formats.x]\nthinkin = [["a", "b"]]', "unknown key 'thinkin'.*Did you mean 'thinking'"),
        ('[formats.x]\nthinking = [["a"]]', "x"),
        ('[formats.x]\nheadings = [" :"]', "stands everywhere"),
        ("[formats.x]\nsigns = [[]]", "stands everywhere"),
        ('[models.m]\nformat = "braquets"', "unknown output format 'braquets'"),
    ],
)
def test_a_mistake_in_an_own_format_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        registry(tmp_path)


DELIMITERS = st.text(min_size=1, max_size=6).filter(lambda text: bool(text.strip(" \t\r\n:.")))


@settings(deadline=None, max_examples=60)
@given(DELIMITERS, DELIMITERS, TEXTS)
def test_any_delimiters_make_a_format_that_loses_nothing(opens: str, closes: str, text: str) -> None:
    form = Format(thinking=(Delimiters(opens, closes),))
    reply = Response(text=f"{opens}{text}{closes}")
    assert "".join(s.text for s in split(reply, family="form", own={"form": form}).segments) == reply.text


def test_formats_are_compiled_once() -> None:
    assert grammar(ours()["think_tags"]) is grammar(ours()["think_tags"])


def test_an_unknown_format_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'kimi_think'"):
        split(Response(text=""), family="kimi_thnk")


# --- the pitfalls of reading replies that formats and the registry answer for


def test_pitfall_5_models_whose_delimiters_are_special_tokens_are_served_with_these_kept() -> None:
    kept = {facts.format for facts in registry().values() if facts.serve.keep_special_tokens}
    assert {"glm_box", "gemma_channel", "unused_tokens"} <= kept
    stripped = split(Response(text="analysisRassistantfinalA"), family="harmony")
    assert (stripped.status, stripped.thinking) == ("untagged", None)


def test_pitfall_6_tags_are_text_whether_or_not_a_tokenizer_has_them() -> None:
    pieces = ["<", "think", ">R<", "/th", "ink>", "A"]
    assert split(Response(text="".join(pieces))).thinking == "R"
    assert split(Response(text="◁/think▷A"), family="kimi_think", opens_in="prompt").answer == "A"


def test_pitfall_11_variants_of_tags_belong_to_their_own_formats_only() -> None:
    for text in ("<thinking>R</thinking>A", "<reflection>R</reflection>A"):
        assert split(Response(text=text)).status == "untagged"
    assert split(Response(text="<summary>S</summary><conclusion>A</conclusion>"), family="llava_cot").final == "A"


def test_pitfall_15_the_processor_of_openvlthinker_is_its_bases() -> None:
    for name in ("openvlthinker-7b", "openvlthinker-7b-v1.2"):
        assert registry()[name].serve.processor_from == "Qwen/Qwen2.5-VL-7B-Instruct"


def test_pitfall_20_models_that_run_code_from_the_hub_are_marked() -> None:
    for name in ("kimi-vl-a3b-thinking", "keye-vl-8b-preview", "ovis2.5-9b", "skywork-r1v3-38b"):
        assert registry()[name].remote_code
    assert not registry()["r1-onevision-7b"].remote_code

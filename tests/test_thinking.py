"""The splitters: laws over any text, the think family's golden cases, and the study's own slicing."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safemlrm.errors import UnknownName
from safemlrm.models import registry
from safemlrm.records import Response, Stop
from safemlrm.thinking import SPLITTERS, names, split
from safemlrm.thinking.opensafemlrm import WAS_SPLIT

FRAGMENTS = (
    "<think>",
    "</think>",
    "<THINK >",
    "< / think>",
    "<answer>",
    "</answer>",
    "<thi",
    "nk>",
    "R",
    "A\n",
    " ",
    "</",
)
TEXTS = st.text(max_size=60) | st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)
STOPS = st.sampled_from(["stop", "length", "filter", "other"])
OPENINGS = st.sampled_from(["output", "prompt", "turns", "none"])


def replies(texts: st.SearchStrategy[str] = TEXTS) -> st.SearchStrategy[Response]:
    return st.builds(Response, text=texts, reasoning=st.none() | texts, stop=STOPS)


class Case(NamedTuple):
    """What a reply must split into; `opens` is where the opening tag lives."""

    text: str
    status: str
    thinking: str | None
    answer: str | None
    stop: Stop = "stop"
    opens: str = "output"
    reasoning: str | None = None


GOLDEN = {
    "complete": Case("<think>R</think>A", "ok", "R", "A"),
    "complete, the prompt opens too": Case("<think>R</think>A", "ok", "R", "A", opens="prompt"),
    "opened in the prompt": Case("R</think>A", "open_in_prompt", "R", "A", opens="prompt"),
    "closed without an opening": Case("R</think>A", "open_in_prompt", "R", "A"),
    "cut off while thinking": Case("<think>RRR", "truncated", "RRR", None, "length"),
    "cut off while thinking, opened in the prompt": Case("RRR", "truncated", "RRR", None, "length", "prompt"),
    "cut off in a nested block": Case("<think>R<think>S</think>T", "truncated", "R<think>S</think>T", None, "length"),
    "cut off after a preamble": Case("Sure. <think>RRR", "truncated", "RRR", None, "length"),
    "cut off right after the reasoning": Case("<think>R</think>\n", "truncated", "R", None, "length"),
    "cut off while answering": Case("<think>R</think>AA", "ok", "R", "AA", "length"),
    "cut off in a second block": Case("<think>R</think>A<think>S", "multi_block", "RS", "A", "length"),
    "cut off in a second block, nothing said": Case("<think>R</think> <think>S", "truncated", "RS", None, "length"),
    "a refusal without tags": Case("I'm sorry, no.", "untagged", None, "I'm sorry, no."),
    "no tags, the prompt would open": Case("No.", "untagged", None, "No.", opens="prompt"),
    "no tags, cut off": Case("AAA", "untagged", None, "AAA", "length"),
    "empty": Case("", "untagged", None, None),
    "white space only": Case(" \n", "untagged", None, None),
    "two blocks": Case("<think>R1</think>A1<think>R2</think>A2", "multi_block", "R1R2", "A1A2"),
    "two blocks, the first opened in the prompt": Case("Q</think>A<think>R</think>B", "multi_block", "QR", "AB"),
    "nested": Case("<think>R1<think>R2</think>R3</think>A", "nested", "R1<think>R2</think>R3", "A"),
    "a preamble": Case("Sure. <think>R</think>A", "ok", "R", "Sure. A"),
    "a stray close": Case("<think>R</think>X</think>A", "malformed", "R", "X</think>A"),
    "empty think": Case("<think>\n\n</think>\n\nA", "empty_think", None, "A"),
    "empty think alone": Case("<think>\n\n</think>", "empty_think", None, None),
    "capitals": Case("<THINK>R</Think>A", "ok", "R", "A"),
    "white space in tags": Case("< think >R</ think\n>A", "ok", "R", "A"),
    "never closed": Case("<think>RRR", "malformed", "RRR", None),
    "never closed, an answer block": Case("<think>R<answer>A</answer>", "malformed", "R", "A"),
    "never closed, something said before": Case("Sure. <think>R", "malformed", "R", "Sure."),
    "one close for two openings": Case("<think>say <think> first</think>A", "malformed", "say <think> first", "A"),
    "answer inside think": Case("<think>R<answer>A</answer></think>", "malformed", "R<answer>A</answer>", None),
    "another family's delimiters": Case("◁think▷R◁/think▷A", "untagged", None, "◁think▷R◁/think▷A"),
    "box tokens stay in the answer": Case("<think>R</think><|begin_of_box|>A", "ok", "R", "<|begin_of_box|>A"),
    "switched off, and nothing was thought": Case("A", "untagged", None, "A"),
    "switched off, and it thought nevertheless": Case("<think>R</think>A", "ok", "R", "A"),
    "an answer that quotes the closing tag": Case("<think>R</think>Say </think>.", "malformed", "R", "Say </think>."),
    "server split": Case("A", "ok", "R", "A", reasoning="R"),
    "server split, cut off while thinking": Case("", "truncated", "R", None, "length", reasoning="R"),
    "server split, nothing said": Case("", "malformed", "R", None, reasoning="R"),
    "server split at a nested close": Case("S</think>A", "nested", "R<think>QS", "A", reasoning="R<think>Q"),
    "server split, another block follows": Case("A<think>S</think>B", "multi_block", "RS", "AB", reasoning="R"),
    "server split, nothing thought": Case("A", "empty_think", None, "A", reasoning="\n\n"),
    "server split, the field is empty": Case("A", "untagged", None, "A", reasoning=""),
    "server split, the prompt opened": Case("A", "ok", "R", "A", "length", "prompt", "R"),
}  # fmt: skip


#: Malformed replies on which the existing parsers disagree (docs/formats.md), and the golden cases that decide them.
TRUTH_TABLE = {
    "<think>R</think>A": ("complete",),
    "R</think>A, tag in prompt": ("opened in the prompt",),
    "<think>RRR, truncated": ("cut off while thinking",),
    "RRR, truncated, tag in prompt": ("cut off while thinking, opened in the prompt",),
    "no tags, a refusal": ("a refusal without tags",),
    "two blocks": ("two blocks",),
    "nested": ("nested",),
    "Sure. <think>R</think>A": ("a preamble",),
    "<think>R</think>X</think>A": ("a stray close",),
    "answer mentions </think>": ("an answer that quotes the closing tag",),
    "empty think": ("empty think",),
    "<THINK>R</THINK>A": ("capitals",),
    "<think>R<answer>A</answer>, no close": ("never closed, an answer block",),
    "answer inside think": ("answer inside think",),
    "◁think▷ or ### formats": ("another family's delimiters",),
    "box tokens": ("box tokens stay in the answer",),
    "thinking switched off in the request": (
        "switched off, and nothing was thought",
        "switched off, and it thought nevertheless",
    ),
}


def test_every_row_of_the_truth_table_is_decided_by_a_golden_case() -> None:
    assert len(TRUTH_TABLE) == 17
    assert {case for cases in TRUTH_TABLE.values() for case in cases} <= set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_reply_splits_as_its_golden_case_says(name: str) -> None:
    case = GOLDEN[name]
    reply = Response(text=case.text, reasoning=case.reasoning, stop=case.stop)
    found = split(reply, opens_in=case.opens)
    assert (found.status, found.thinking, found.answer) == (case.status, case.thinking, case.answer)


@settings(deadline=None, max_examples=100)
@given(replies(), OPENINGS, st.sampled_from(sorted(SPLITTERS)), st.sampled_from(["", *WAS_SPLIT]))
def test_segments_concatenate_to_what_was_generated(reply: Response, opens: str, splitter: str, model: str) -> None:
    found = split(reply, splitter, model=model, opens_in=opens)
    assert "".join(segment.text for segment in found.segments) == reply.generated
    assert all(segment.text for segment in found.segments)


@settings(deadline=None, max_examples=100)
@given(replies(), OPENINGS)
def test_a_part_is_the_stripped_text_of_its_segments_or_none(reply: Response, opens: str) -> None:
    found = split(reply, opens_in=opens)
    for kind, part in (("thinking", found.thinking), ("answer", found.answer)):
        assert part == ("".join(s.text for s in found.segments if s.kind == kind).strip() or None)
    assert found.full == (reply.generated if reply.generated.strip() else None)


@settings(deadline=None, max_examples=100)
@given(replies(), OPENINGS)
@example(Response(text="Sure. <think>R", stop="length"), "output")
def test_a_truncated_reply_was_cut_off_and_has_no_answer(reply: Response, opens: str) -> None:
    found = split(reply, opens_in=opens)
    if found.status == "truncated":
        assert (reply.stop, found.answer) == ("length", None)
    if found.status in ("untagged", "empty_think"):
        assert found.thinking is None


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=80).filter(lambda text: "<" not in text))
def test_a_text_without_markup_yields_itself_again_and_again(text: str) -> None:
    once = split(Response(text=text))
    assert (once.status, once.answer) == ("untagged", text.strip() or None)
    assert split(Response(text=once.answer or "")).answer == once.answer


@settings(deadline=None, max_examples=100)
@given(replies(), OPENINGS)
def test_what_was_parsed_and_is_parsed_again_does_not_change(reply: Response, opens: str) -> None:
    once = split(reply, opens_in=opens)
    if once.status in ("ok", "open_in_prompt") and "<" not in f"{once.thinking}{once.answer}":
        tagged = Response(text=f"<think>{once.thinking}</think>{once.answer}", stop=reply.stop)
        fields = Response(text=once.answer or "", reasoning=once.thinking, stop=reply.stop)
        for again in (split(tagged, opens_in=opens), split(fields, opens_in=opens)):
            assert (again.status, again.thinking, again.answer) == ("ok", once.thinking, once.answer)


@settings(deadline=None, max_examples=100)
@given(replies(), STOPS)
def test_an_answer_of_a_well_formed_reply_is_its_own_answer(reply: Response, stop: Stop) -> None:
    found = split(reply)
    if found.answer is not None and "<" not in found.answer:
        again = split(Response(text=found.answer, stop=stop))
        assert (again.status, again.answer) == ("untagged", found.answer)


HOSTILE = (
    *("<think>", "</think>", "<think></think>", "<think>a</think>b", "<answer>", "<   think", "### Step 1:\n", "###"),
    *("\\boxed{", "<|channel|>", "<|end|>", "<think>◁/think▷<analysis></think>◁think▷</analysis>"),
)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("stop", ["stop", "length"])
def test_a_quarter_of_a_megabyte_of_delimiters_is_read_and_given_back(unit: str, stop: Stop) -> None:
    text = unit * (250_000 // len(unit))
    for family in ("think_tags", "mulberry_sections", "harmony", "kimi_think", "analysis_tags", "auto"):
        assert "".join(s.text for s in split(Response(text=text, stop=stop), family=family).segments) == text


def test_reading_takes_time_in_proportion_to_the_length() -> None:
    def fastest(size: int) -> float:
        reply = Response(text="<think>" * (size // 7))
        times = []
        for _ in range(3):
            started = time.perf_counter()
            split(reply)
            times.append(time.perf_counter() - started)
        return min(times)

    short, long = fastest(250_000), fastest(2_500_000)
    assert long < 30 * short  # ten times the length; a quadratic reader takes a hundred times as long
    assert long < 2.5


def test_pitfall_1_a_thought_that_was_cut_off_is_never_an_answer() -> None:
    for reasoning, text in ((None, "<think>[thought]"), ("[thought]", "")):
        found = split(Response(text=text, reasoning=reasoning, stop="length"))
        assert (found.status, found.thinking, found.answer) == ("truncated", "[thought]", None)


def test_pitfall_2_a_lost_opening_tag_does_not_turn_the_thinking_into_an_answer() -> None:
    assert split(Response(text="[thought]</think>[answer]"), opens_in="prompt").answer == "[answer]"


def test_pitfall_3_an_untagged_refusal_stays_an_answer() -> None:
    found = split(Response(text="I'm sorry, I can't help with that."), family="untagged", opens_in="none")
    assert (found.thinking, found.answer) == (None, "I'm sorry, I can't help with that.")


def test_pitfall_4_a_missing_tag_does_not_cut_at_the_seventh_character() -> None:
    assert split(Response(text="0123456789")).answer == "0123456789"


def test_pitfall_7_blocks_keep_their_order_as_segments() -> None:
    found = split(Response(text="<think>R1</think>A1<think>R2</think>A2"))
    kinds = [(s.kind, s.text) for s in found.segments if s.kind != "markup"]
    assert kinds == [("thinking", "R1"), ("answer", "A1"), ("thinking", "R2"), ("answer", "A2")]


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("<think>R<answer>no</answer></think><answer>A</answer> and <answer>B</answer>", "B"),
        ("<think>R</think><answer>A</answer><answer>B", "A"),
        ("<answer>A</answer><think>R</think>B", None),
        ("<think>R<answer>A</answer> ", "A"),
        ("<think>R</think><answer> </answer>", None),
        ("<answer>A</answer>", "A"),
    ],
)
def test_pitfall_8_the_final_value_is_the_last_complete_answer_after_the_reasoning(
    text: str, final: str | None
) -> None:
    assert split(Response(text=text)).final == final


def test_pitfall_9_prose_between_reasoning_and_answer_tag_is_part_of_the_answer() -> None:
    found = split(Response(text="<think>R</think>\nSo: <answer>A</answer> Done."))
    assert (found.answer, found.final) == ("So: A Done.", "A")


def test_pitfall_10_a_preamble_is_visible_and_part_of_the_answer() -> None:
    assert split(Response(text="Sure. <think>R</think>A")).answer == "Sure. A"


def test_pitfall_11_only_ascii_letters_make_a_tag() -> None:
    assert split(Response(text="<thin\N{KELVIN SIGN}>R</thin\N{KELVIN SIGN}>A")).status == "untagged"


def test_pitfall_12_an_empty_thought_has_a_status_of_its_own() -> None:
    assert split(Response(text="<think></think>A")).status == "empty_think"


@pytest.mark.parametrize("answer", ["Write </think> to end it.", "Write <think> to begin it."])
def test_pitfall_19_an_answer_that_speaks_of_a_tag_is_not_cut(answer: str) -> None:
    found = split(Response(text=f"<think>R</think>{answer}"))
    assert (found.thinking, found.answer) == ("R", answer)
    beside = split(Response(text=answer, reasoning="R"))
    assert (beside.thinking, beside.answer) == ("R", answer)


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("<think>R</think>A", "<think>R</think>", "A"),
        ("<think>a</think>b</think>c", "<think>a</think>b</think>", "c"),
        ("I'm sorry, no", "I'm sor", "ry, no"),
        ("<think>RRR", "<think>", "RRR"),
        ("<think>R</think>", "<think>R</think>", None),
        ("R</think> ", "R</think>", " "),
        ("<THINK>R</THINK>A", "<THINK>", "R</THINK>A"),
        ("short", "short", None),
        ("", None, None),
    ],
)
def test_the_studys_slicing_takes_seven_characters_where_the_tag_is_missing(
    text: str, thinking: str | None, answer: str | None
) -> None:
    for model in ("mulberry-qwen2vl-7b", "a model that the study did not have"):
        found = split(Response(text=text), "opensafemlrm", model=model)
        assert (found.thinking, found.answer, found.full) == (thinking, answer, text or None)


def test_the_studys_slicing_reads_split_off_reasoning_as_one_text() -> None:
    found = split(Response(text="bc</think>d", reasoning="a"), "opensafemlrm")
    assert (found.thinking, found.answer) == ("abc</think>", "d")


@pytest.mark.parametrize("model", [name for name, was_split in WAS_SPLIT.items() if not was_split])
def test_models_that_the_study_scored_whole_have_no_parts(model: str) -> None:
    found = split(Response(text="<think>R</think>A"), "opensafemlrm", model=model)
    assert (found.thinking, found.answer, found.full) == (None, None, "<think>R</think>A")


def test_the_studys_table_names_models_of_the_registry_and_splits_three() -> None:
    assert set(WAS_SPLIT) <= set(registry())
    assert sorted(name for name, was_split in WAS_SPLIT.items() if was_split) == [
        "mm-eureka-qwen-7b",
        "mulberry-qwen2vl-7b",
        "r1-onevision-7b",
    ]


def test_the_formats_of_the_registrys_models_are_known() -> None:
    assert {facts.format for facts in registry().values()} <= set(names())


def test_unknown_splitters_and_formats_are_named_with_the_nearest_known_ones() -> None:
    with pytest.raises(UnknownName, match="corrected"):
        split(Response(text=""), "corected")
    with pytest.raises(UnknownName, match="think_tags"):
        split(Response(text=""), family="think_tag")

"""The promptings: the paper's think prompt in both roles, native prompts, and what of it a trial's id takes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safemlrm.cli import run
from safemlrm.cli.reporting import unlike, unpublished
from safemlrm.errors import StudyError, UnknownName
from safemlrm.models import ModelFacts, NativePrompt, facts_of, registry
from safemlrm.prompting import PROMPTINGS, THINK, asked_with, converse, format_of, read_as, switched, words
from safemlrm.prompting import apply as put
from safemlrm.records import Image, Prompt, Response, Turn, user
from safemlrm.report.source import gather
from safemlrm.resolve import resolve
from safemlrm.store import frames, open_store
from safemlrm.study import convert, read_study
from safemlrm.thinking import TURN, split
from support import ChatServer, completion

PICTURE = Image(data=b"[placeholder picture]")
PROMPT = user(PICTURE, "[placeholder request]")
USER = ModelFacts(name="in-user", think_role="user")
SYSTEM = ModelFacts(name="in-system", think_role="system")


def apply(name: str, prompt: Prompt, facts: ModelFacts) -> Prompt:
    return put(words(name, facts), prompt, facts)


def identity(name: str, facts: ModelFacts) -> dict[str, Any]:
    return words(name, facts).identity()


def native(text: str, role: str = "user") -> ModelFacts:
    return ModelFacts(name="native-model", native=NativePrompt(role=role, text=text))  # type: ignore[arg-type]


def test_the_think_prompt_is_the_published_one_to_the_letter() -> None:
    assert hashlib.sha256(THINK.encode()).hexdigest()[:16] == "89e8be09d8ba0f37"


def test_bare_changes_nothing() -> None:
    assert apply("bare", PROMPT, USER) is PROMPT


@pytest.mark.parametrize("facts", [SYSTEM, ModelFacts(name="told-nothing")])
def test_think_is_a_system_turn_of_its_own_unless_the_script_said_otherwise(facts: ModelFacts) -> None:
    assert apply("think", PROMPT, facts).turns == (Turn("system", (THINK,)), *PROMPT.turns)


def test_think_in_the_user_role_stands_before_the_question_and_leaves_pictures_in_place() -> None:
    assert apply("think", PROMPT, USER) == user(PICTURE, f"{THINK}\n[placeholder request]")


def test_a_system_text_that_is_there_already_stays_behind_the_prompt_in_one_turn() -> None:
    prompt = Prompt(turns=(Turn("system", ("[attack's system text]",)), *PROMPT.turns))
    assert apply("think", prompt, SYSTEM).turns[0] == Turn("system", (f"{THINK}\n\n[attack's system text]",))


def test_only_the_first_user_turn_is_prompted_and_a_prefill_is_kept() -> None:
    turns = (Turn("user", ("a",)), Turn("assistant", ("b",)), Turn("user", ("c",)))
    prompted = apply("think", Prompt(turns=turns, prefill="<think>"), USER)
    assert prompted == Prompt(turns=(Turn("user", (f"{THINK}\na",)), *turns[1:]), prefill="<think>")


def test_a_native_user_prompt_surrounds_the_question_even_one_that_holds_the_place_mark() -> None:
    facts = native("[before] {question} [after]")
    assert apply("native", user("a {question}"), facts) == user("[before] a {question} [after]")
    assert apply("native", user("a", PICTURE, "b"), facts) == user("[before] a", PICTURE, "b [after]")
    assert apply("native", user(PICTURE), facts) == user("[before]  [after]", PICTURE)


def test_a_native_system_prompt_is_a_system_turn() -> None:
    assert apply("native", PROMPT, native("[words]", "system")).turns[0] == Turn("system", ("[words]",))


def test_native_without_a_native_prompt_names_the_model_and_the_way_out() -> None:
    with pytest.raises(StudyError, match=r"'told-nothing' has no native prompt.*models\.toml"):
        apply("native", PROMPT, ModelFacts(name="told-nothing"))


@pytest.mark.parametrize("facts", [native("[no place]"), native("{question} {question}"), native("x", "assistant")])
def test_a_native_prompt_that_cannot_be_given_is_refused(facts: ModelFacts) -> None:
    with pytest.raises(StudyError, match="native prompt of model 'native-model'"):
        identity("native", facts)


def test_a_user_prompt_needs_a_user_turn() -> None:
    with pytest.raises(StudyError, match="in-user"):
        apply("think", Prompt(turns=(Turn("system", ("a",)),)), USER)


@pytest.mark.parametrize("call", [lambda: apply("thnik", PROMPT, USER), lambda: identity("thnik", USER)])
def test_an_unknown_prompting_is_named_with_the_nearest_known_one(call: object) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'think'"):
        call()  # type: ignore[operator]


def test_the_identity_holds_name_role_and_text_and_nothing_of_the_model() -> None:
    assert identity("bare", USER) == {"name": "bare"}
    assert identity("think", SYSTEM) == {"name": "think", "role": "system", "text": THINK}
    assert identity("think", SYSTEM) == identity("think", ModelFacts(name="other"))
    assert identity("think", USER) == {"name": "think", "role": "user", "text": f"{THINK}\n{{question}}"}
    assert identity("native", native("[words]", "system")) == {"name": "native", "role": "system", "text": "[words]"}


def test_every_published_model_can_be_prompted_as_the_study_did() -> None:
    published = [facts for facts in registry().values() if facts.published and facts.paper_prompting]
    assert len(published) == 9
    for facts in published:
        assert facts.paper_prompting in PROMPTINGS
        apply(facts.paper_prompting or "", PROMPT, facts)
    assert apply("think", PROMPT, facts_of("mulberry-llava-8b")).turns[0].role == "user"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=8) | st.binary(max_size=4).map(lambda data: Image(data=data)), max_size=5))
def test_pictures_keep_their_order_in_every_prompting(content: list[str | Image]) -> None:
    prompt = user(*content)
    for name, facts in (("think", USER), ("think", SYSTEM), ("native", native("a {question} b"))):
        assert apply(name, prompt, facts).images() == prompt.images()


# --- labels: the same exactly where prompt and role are the same


def test_a_label_tells_prompts_apart_and_roles() -> None:
    assert [words(name, SYSTEM).label for name in ("bare", "think")] == ["bare", "think"]
    assert words("think", USER).label == "think:user"
    shared = {
        words("native", facts_of(name)).label for name in ("mulberry-qwen2vl-7b", "mulberry-llava-8b", "r1-vl-7b")
    }
    assert shared == {"native:mulberry"}
    assert words("native", native("[words]", "system")).label == "native:native-model"


def test_native_of_a_model_whose_authors_add_nothing_is_bare() -> None:
    assert words("native", facts_of("r1-onevision-7b")) == words("bare", facts_of("r1-onevision-7b"))


class Member(NamedTuple):
    """A model of a study, as far as prompting goes."""

    label: str
    base: str | None
    facts: ModelFacts
    promptings: tuple[str, ...] = ("bare", "think", "native")


BASE = Member("base", None, ModelFacts(name="base", format="untagged"))
TUNED = Member(
    "tuned", "base", ModelFacts(name="tuned", think_role="system", native=NativePrompt(role="system", text="N"))
)
OTHER = Member(
    "other", "base", ModelFacts(name="other", think_role="user", native=NativePrompt(role="system", text="M"))
)


def labels(model: Member, *models: Member) -> list[str]:
    return [asked.label for asked in asked_with(model, models)]


def test_a_shared_base_is_asked_as_each_model_that_was_tuned_from_it() -> None:
    assert labels(BASE, BASE, TUNED, OTHER) == ["bare", "think", "think:user", "native:tuned", "native:other"]
    assert labels(TUNED, BASE, TUNED, OTHER) == ["bare", "think", "native:tuned"]
    assert labels(OTHER, BASE, TUNED, OTHER) == ["bare", "think:user", "native:other"]


def test_every_pair_shares_every_prompt_of_its_derived_member() -> None:
    models = (BASE, TUNED, OTHER)
    for derived in (TUNED, OTHER):
        asked = {words.label: words.identity() for words in asked_with(BASE, models)}
        for mine in asked_with(derived, models):
            assert asked[mine.label] == mine.identity()


def test_a_base_is_asked_only_as_models_that_run_under_that_prompting() -> None:
    assert labels(BASE, BASE, TUNED._replace(promptings=("bare",)), OTHER) == [
        "bare", "think:user", "native:other",
    ]  # fmt: skip
    with pytest.raises(StudyError, match="'base' has no native prompt"):
        labels(BASE, BASE, TUNED._replace(promptings=("bare",)))


def test_two_prompts_of_one_name_are_refused() -> None:
    same = NativePrompt(role="system", text="other words", name="tuned")
    other = OTHER._replace(facts=ModelFacts(name="other", native=same), promptings=("native",))
    with pytest.raises(StudyError, match="bear the name 'native:tuned' and differ"):
        labels(BASE, BASE, TUNED._replace(promptings=("native",)), other)


def test_a_model_in_the_middle_of_a_chain_is_asked_in_its_own_way_and_its_successors() -> None:
    middle = TUNED._replace(promptings=("think",))
    last = Member("last", "tuned", ModelFacts(name="last", think_role="user"), ("think",))
    assert labels(middle, BASE, middle, last) == ["think", "think:user"]


def test_the_ready_study_pairs_every_prompt_of_a_derived_model_with_its_base() -> None:
    study = Path(__file__).parent.parent / "studies" / "prompt_by_weights.toml"
    plan = resolve(read_study(study), needs_data=False)
    asked = {model.label: {w.label for w in plan.prompted(model)} for model in plan.models}
    assert asked["qwen2-vl-7b-instruct"] == {"bare", "think"}
    assert asked["llama3-llava-next-8b"] == {"bare", "think:user"}
    for model in plan.models:
        assert not model.base or asked[model.label] <= asked[model.base]
    assert plan.tally().trials == 9 * 2 * 2 * 1256


# --- switches in the prompt


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mimo-vl-7b-rl-2508+no_thinking", user(PICTURE, "[placeholder request] /no_think")),
        ("mimo-vl-7b-rl-2508+thinking", PROMPT),
        ("kimi-vl-a3b-thinking+no_thinking", Prompt(PROMPT.turns, "◁think▷\n\n◁/think▷")),
        ("qwen3.5-9b+no_thinking", PROMPT),
        ("r1-onevision-7b", PROMPT),
    ],
)
def test_a_switch_that_is_a_text_stands_in_the_prompt(name: str, expected: Prompt) -> None:
    assert switched(PROMPT, facts_of(name)) == expected


def test_a_switch_in_the_system_turn_is_not_repeated_by_the_native_prompt_that_is_the_same() -> None:
    facts = facts_of("internvl3.5-8b+thinking")
    bare, prompted = switched(PROMPT, facts), switched(apply("native", PROMPT, facts), facts)
    assert bare == prompted and bare.turns[0].role == "system"


def test_a_side_is_not_asked_by_the_prompt_that_switches_it_over() -> None:
    targets = ["specimen:internvl3.5-8b+thinking", "specimen:internvl3.5-8b+no_thinking"]
    document = {"targets": targets, "data": [{"dataset": "specimen"}], "judges": ["specimen"]}
    assert resolve(convert(document | {"promptings": ["bare", "think"]}, "test"))
    with pytest.raises(
        StudyError, match=r"internvl3.5-8b\+no_thinking cannot be asked with it: both sides would be one"
    ):
        resolve(convert(document | {"promptings": ["native"]}, "test"))


def test_a_suffix_stands_in_the_last_user_turn_and_before_no_prefill() -> None:
    turns = (Turn("user", ("a",)), Turn("assistant", ("b",)), Turn("user", ("c", PICTURE)))
    found = switched(Prompt(turns, "[prefill]"), facts_of("keye-vl-1.5-8b+thinking"))
    assert found == Prompt((*turns[:2], Turn("user", ("c /think", PICTURE))), "[prefill]")


# --- several turns


STAGED = ModelFacts(
    name="staged",
    format="turns",
    native=NativePrompt(role="user", text="{question} one", then=("two", "three"), limits=(9, 8, 7)),
)


def conversation(*replies: Response, facts: ModelFacts = STAGED) -> tuple[Response, list[tuple[Prompt, int | None]]]:
    sent: list[tuple[Prompt, int | None]] = []

    async def send(prompt: Prompt, limit: int | None) -> Response:
        sent.append((prompt, limit))
        return replies[len(sent) - 1]

    asked = words("native", facts)
    return asyncio.run(converse(asked, put(asked, PROMPT, facts), facts, send)), sent


def test_several_turns_are_asked_one_after_the_other_and_kept() -> None:
    parts = [Response(text=f"[{k}]", tokens_in=1, tokens_out=k, seconds=1.0, model="m") for k in (1, 2, 3)]
    response, sent = conversation(*parts)
    assert [limit for _, limit in sent] == [9, 8, 7]
    assert sent[0][0] == user(PICTURE, "[placeholder request] one")
    assert [t.content[-1] for t in sent[2][0].turns] == ["[placeholder request] one", "[1]", "two", "[2]", "three"]
    assert (response.text, response.reasoning_field, response.tokens_in, response.tokens_out) == ("[3]", "turns", 3, 6)
    assert (response.reasoning or "").split(f"\n\n{TURN}\n\n") == ["[1]", "[2]\n\n"]
    found = split(response, family="turns", opens_in="turns")
    assert (found.status, found.answer) == ("ok", "[3]")
    assert [s.text.strip() for s in found.segments if s.kind == "thinking"] == ["[1]", "[2]"]


def test_a_turn_that_was_cut_off_goes_on_and_is_noted() -> None:
    response, _ = conversation(
        Response(text="a", stop="length"), Response(text="b"), Response(text="c", stop_detail="eos")
    )
    assert (response.stop, response.stop_detail) == ("stop", "eos; turn 1: length")
    assert response.tokens_out is None, "a count that one turn lacks is not a sum"


def test_a_turn_that_a_filter_answered_ends_the_conversation() -> None:
    response, sent = conversation(Response(text="a"), Response(text="", stop="filter"))
    assert (len(sent), response.stop, response.reasoning) == (2, "filter", "a\n\n")


def test_pitfall_13_thinking_that_the_server_split_off_is_not_in_the_next_turns_context() -> None:
    _, sent = conversation(Response(text="[answer]", reasoning="[thought]"), Response(text="b"), Response(text="c"))
    assert sent[1][0].turns[1] == Turn("assistant", ("[answer]",))


def test_an_opening_that_was_put_in_the_models_mouth_stays_in_the_conversation() -> None:
    sent: list[Prompt] = []

    async def send(prompt: Prompt, limit: int | None) -> Response:
        sent.append(prompt)
        return Response(text="[reply]")

    opened = Prompt(PROMPT.turns, "Sure, ")
    asyncio.run(converse(words("native", STAGED), opened, STAGED, send))
    assert [prompt.prefill for prompt in sent] == ["Sure, ", None, None]
    assert [turn.content[0] for turn in sent[2].turns if turn.role == "assistant"] == ["Sure, [reply]", "[reply]"]


def test_a_conversation_needs_a_limit_for_each_turn() -> None:
    facts = ModelFacts(name="m", native=NativePrompt(role="user", text="{question}", then=("two",), limits=(5,)))
    with pytest.raises(StudyError, match="2 turns and 1 limits"):
        words("native", facts)


# --- in which format a reply is read


def test_a_base_that_was_asked_for_a_format_is_read_in_it() -> None:
    base, tuned = facts_of("qwen2-vl-7b-instruct"), facts_of("mm-eureka-qwen-7b")
    assert read_as(base, format_of("native:mulberry")).format == "mulberry_sections"
    assert read_as(tuned, format_of("native:mulberry")).format == "think_answer", "a model's own format holds"
    assert read_as(base, format_of("think")) is base
    assert format_of("native:never-heard-of") == "untagged"


# --- through the engine, against a real server


def asked_natively(
    in_folder: Path, server: ChatServer, behave: Callable[[dict[str, Any]], dict[str, Any]], *arguments: str
) -> list[dict[str, Any]]:
    """Run a tiny study in native prompting and return the stored replies, split as the registry says."""
    server.behave = behave
    targets = [f"openai_compatible:{name}@{server.url}" for name in arguments]
    options = [word for target in targets for word in ("--target", target)]
    run(["run", *options, "--dataset", "specimen", "--prompting", "native", "--limit", "1", "--judge", "specimen"])
    with open_store("safemlrm.db") as store:
        joined = (
            frames.responses(store)
            .drop("model", "prompt")
            .join(frames.trials(store).select("trial", "model", "prompting", "prompt"), on="trial")
        )
        table = frames.readings(store, splitter="corrected", judge=None)
    statuses = dict(table.filter(part="full").select("model", "status").iter_rows())
    return [row | {"status": statuses[row["model"]]} for row in joined.to_dicts()]


def test_four_turns_reach_a_server_and_come_back_as_reasoning_and_answer(in_folder: Path, server: ChatServer) -> None:
    bodies: list[dict[str, Any]] = []

    def behave(body: dict[str, Any]) -> dict[str, Any]:
        bodies.append(body)
        return completion(f"[reply {len(body['messages'])}]", model=body["model"])

    rows = asked_natively(
        in_folder, server, behave, "omkarthawakar/LlamaV-o1", "meta-llama/Llama-3.2-11B-Vision-Instruct"
    )
    assert [len(body["messages"]) for body in bodies if "LlamaV" in body["model"]] == [1, 3, 5, 7]
    assert [body["max_tokens"] for body in bodies if "LlamaV" in body["model"]] == [1024, 1024, 1024, 50]
    assert {row["model"] for row in rows} == {"llamav-o1-11b", "llama-3.2-11b-vision-instruct"}
    for row in rows:
        assert (row["text"], row["reasoning_field"], row["status"]) == ("[reply 7]", "turns", "ok")
        assert row["prompting"] == "native:llamav_o1" and row["tokens_out"] == 12
    assert len({row["prompt"] for row in rows}) == 1, "both members of the pair were asked the same"


def test_a_base_that_answers_under_the_derived_models_headings_is_split_by_them(
    in_folder: Path, server: ChatServer
) -> None:
    reply = "### Rationales:\n[thought]\n### The final answer is: [answer]"
    rows = asked_natively(
        in_folder, server, lambda body: completion(reply, model=body["model"]),
        "HuanjinYao/Mulberry_qwen2vl_7b", "Qwen/Qwen2-VL-7B-Instruct",
    )  # fmt: skip
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert run(["judge", "safemlrm.db", "--judge", "specimen"]) in (0, 2)


def test_pitfalls_16_and_18_a_malformed_reply_is_never_asked_again_and_tags_in_the_prompt_never_count(
    in_folder: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.behave = lambda body: completion("<think>never closed")
    target = f"openai_compatible:mm-eureka-qwen-7b@{server.url}"
    assert THINK.count("</think>") == 2
    run(
        [
            "run",
            "--target",
            target,
            "--dataset",
            "specimen",
            "--prompting",
            "think",
            "--limit",
            "3",
            "--no-judge",
            "--json",
        ]
    )
    assert (json.loads(capsys.readouterr().out)["answered"], len(server.bodies)) == (3, 3)
    assert split(Response(text="[answer]")).status == "untagged"


def test_pitfall_14_no_prompting_adds_an_empty_system_message() -> None:
    for facts in registry().values():
        for name in ("bare", "think", *(["native"] if facts.native else [])):
            systems = [turn for turn in apply(name, PROMPT, facts).turns if turn.role == "system"]
            assert all(isinstance(text, str) and text.strip() for turn in systems for text in turn.content)
            assert name != "bare" or apply(name, PROMPT, facts) is PROMPT


def test_pitfall_17_a_token_limit_below_the_authors_is_said_in_the_plan() -> None:
    document = {"targets": ["specimen:skywork-r1v3-38b"], "data": [{"dataset": "specimen"}]}
    assert any("its authors allow 65,536" in warning for warning in resolve(convert(document, "test")).warnings)


# --- what a report says of it


STUDY = """
[[targets]]
model = "specimen:mulberry-llava-8b"
promptings = ["{derived}"]

[[targets]]
model = "specimen:llama3-llava-next-8b"
promptings = ["{base}"]

[[data]]
dataset = "specimen"
"""


def rehearsed(derived: str, base: str) -> list[str]:
    """Run a pair of simulated models, each under its prompting, and return what the report notes."""
    Path("study.toml").write_text(STUDY.format(derived=derived, base=base), encoding="utf-8")
    name = f"{derived}-{base}.db"
    code = run(["run", "study.toml", "--judge", "specimen", "--limit", "20", "--store", name])
    assert code == 0, "parts whose score was never published are no failure"
    with open_store(name) as store:
        source = gather(store)
        return [*unlike(store, source), *unpublished(source)]


def test_the_report_says_in_what_the_members_of_a_pair_were_asked_differently(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [differing, silent] = rehearsed(derived="think", base="bare")
    assert differing == (
        "mulberry-llava-8b and llama3-llava-next-8b differ in more than their weights: prompting: bare against think."
    )
    assert silent.startswith("Mulberry-LLaVA-8B: the publication scored whole replies only.")
    assert "parts of simulated replies have no score, because none was published" in capsys.readouterr().out
    assert len(rehearsed(derived="think", base="think")) == 1


def test_the_report_says_when_pictures_were_limited_differently(in_folder: Path) -> None:
    rehearsed(derived="think", base="think")
    with open_store("think-think.db") as store:
        source = gather(store)
        arms: Any = source.facts["arms"]
        next(arm for arm in arms if arm["model"] == "mulberry-llava-8b")["target"]["limits"] = {"max_pixels": 784}
        assert "image-processor limits: not set against {'max_pixels': 784}" in " ".join(unlike(store, source))


def test_a_report_of_one_run_names_the_arms_of_that_run_alone(in_folder: Path) -> None:
    for prompting in ("think", "bare"):
        Path("study.toml").write_text(STUDY.format(derived=prompting, base=prompting), encoding="utf-8")
        assert run(["run", "study.toml", "--judge", "specimen", "--limit", "5"]) == 0
    with open_store("safemlrm.db") as store:
        for chosen, prompting in zip(store.latest_runs(), ("think", "bare"), strict=True):
            arms: Any = gather(store, runs=[chosen.id]).facts["arms"]
            assert {arm["prompting"]["name"] for arm in arms} == {prompting}


def test_a_rehearsal_of_prompt_against_weights_is_no_finding(in_folder: Path) -> None:
    study = STUDY.replace('["{derived}"]', '["bare", "think"]').replace('["{base}"]', '["bare", "think"]')
    Path("study.toml").write_text(study, encoding="utf-8")
    assert run(["run", "study.toml", "--judge", "specimen", "--limit", "20", "--out", "report"]) == 0
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "is no finding about it" in page and "Weights or prompt?" in page

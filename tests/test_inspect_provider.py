"""inspect_ai's providers, tested with its mock model: what is sent, and how typed reasoning is read."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from safemlrm.errors import StudyError, TargetError
from safemlrm.models import ModelFacts
from safemlrm.plugin import Call
from safemlrm.records import Decoding, Image, Prompt, Response, Turn, Visibility, user
from safemlrm.targets.inspect_provider import _config, inspect_provider
from support import part

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)
Asked = list[tuple[list[Any], Any]]


@pytest.fixture(autouse=True)
def _inspect() -> Iterator[None]:
    part(find_spec("inspect_ai"), "the extra `inspect` (inspect_ai)")
    yield


def reply(*content: Any, stop: str = "stop", usage: Any = None) -> Any:
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    # without a count, the mock model fetches a tokenizer to count by itself
    usage = usage or ModelUsage(input_tokens=1, output_tokens=1)
    message = ChatMessageAssistant(content=list(content))
    return ModelOutput(model="mock-1", choices=[ChatCompletionChoice(message=message, stop_reason=stop)], usage=usage)


def thought(reasoning: str, **fields: Any) -> Any:
    from inspect_ai.model import ContentReasoning

    return ContentReasoning(reasoning=reasoning, **fields)


def said(text: str) -> Any:
    from inspect_ai.model import ContentText

    return ContentText(text=text)


def ask(
    answer: Any,
    prompt: Prompt | None = None,
    decoding: Decoding | None = None,
    *,
    visibility: Visibility = "full",
    asked: Asked | None = None,
) -> Response:
    def behave(messages: list[Any], tools: Any, choice: Any, config: Any) -> Any:
        if asked is not None:
            asked.append((messages, config))
        return answer() if callable(answer) else answer

    async def go() -> Response:
        model = ModelFacts(name="mockllm/model", visibility=visibility)
        async with inspect_provider(model, None, args={"custom_outputs": behave}) as reach:
            return await reach(prompt or user("[q]"), decoding or Decoding(), Call())

    return asyncio.run(go())


def test_a_plain_reply_is_read() -> None:
    from inspect_ai.model import ModelUsage

    usage = ModelUsage(input_tokens=7, output_tokens=5, reasoning_tokens=3)
    got = ask(reply(said("[a]"), usage=usage))
    assert (got.text, got.reasoning, got.stop, got.model) == ("[a]", None, "stop", "mock-1")
    assert (got.tokens_in, got.tokens_out, got.tokens_reasoning) == (7, 5, 3)


def test_what_is_sent_is_the_prompt_in_order_with_every_setting() -> None:
    asked: Asked = []
    turns = (Turn("system", ("[policy]",)), Turn("user", ("[before]", Image(data=PIXEL), "[after]")))
    decoding = Decoding(
        max_tokens=9, temperature=0.5, top_k=3, seed=4, stop=("[x]",), extra={"reasoning_effort": "low"}
    )
    ask(reply(said("[a]")), Prompt(turns), decoding, asked=asked)
    (system, spoken), config = asked[0]
    assert (system.role, system.text) == ("system", "[policy]")
    assert [piece.type for piece in spoken.content] == ["text", "image", "text"]
    assert base64.b64decode(spoken.content[1].image.partition(",")[2]) == PIXEL
    assert (config.max_tokens, config.temperature, config.top_k, config.seed) == (9, 0.5, 3, 4)
    assert (config.stop_seqs, config.reasoning_effort) == (["[x]"], "low")


@pytest.mark.parametrize(
    ("blocks", "reasoning", "visibility"),
    [
        (lambda: [thought("[t1]"), thought("[t2]")], "[t1]\n\n[t2]", "full"),
        (lambda: [thought("c2VjcmV0", redacted=True, summary="[s]")], "[s]", "summary"),
        (lambda: [thought("c2VjcmV0", redacted=True)], None, "hidden"),
        (lambda: [thought("[t]"), thought("c2VjcmV0", redacted=True)], "[t]", "summary"),
        (list, None, "full"),
    ],
)
def test_typed_reasoning_is_read_and_cipher_text_never(
    blocks: Callable[[], list[Any]], reasoning: str | None, visibility: str
) -> None:
    got = ask(reply(*blocks(), said("[a]")))
    assert (got.text, got.reasoning, got.visibility) == ("[a]", reasoning, visibility)


def test_reasoning_that_the_registry_knows_for_a_summary_stays_one() -> None:
    assert ask(reply(thought("[t]"), said("[a]")), visibility="summary").visibility == "summary"


@pytest.mark.parametrize(
    ("word", "stop"),
    [("max_tokens", "length"), ("model_length", "length"), ("content_filter", "filter"), ("unknown", "other")],
)
def test_a_stop_is_read(word: str, stop: str) -> None:
    got = ask(reply(said("[a]"), stop=word))
    assert (got.stop, got.stop_detail) == (stop, word)


def test_a_prefill_is_the_last_turn() -> None:
    asked: Asked = []
    ask(reply(said("[a]")), Prompt(user("[q]").turns, prefill="<think>"), asked=asked)
    assert (asked[0][0][-1].role, asked[0][0][-1].text) == ("assistant", "<think>")


def test_a_setting_that_inspect_does_not_have_is_a_failure() -> None:
    with pytest.raises(TargetError, match="no setting guided_json, repetition_penalty"):
        ask(reply(said("[a]")), decoding=Decoding(repetition_penalty=1.1, extra={"guided_json": {}}))


@pytest.mark.parametrize("provider", ["vllm", "sglang", "openai-api"])
def test_switches_of_a_chat_template_reach_servers_that_have_one(provider: str) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "extra_body": {"min_p": 0.1}}
    config = _config(Decoding(extra=extra), provider)
    assert config.extra_body == {"min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}}
    assert extra["extra_body"] == {"min_p": 0.1}


def test_switches_of_a_chat_template_are_refused_where_nothing_reads_them() -> None:
    with pytest.raises(TargetError, match="no setting chat_template_kwargs"):
        ask(reply(said("[a]")), decoding=Decoding(extra={"chat_template_kwargs": {"enable_thinking": False}}))


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "max_retries", "system_message", "cache"])
def test_a_setting_with_a_place_of_its_own_or_that_changes_what_is_stored_is_refused(name: str) -> None:
    with pytest.raises(TargetError, match=f"no setting {name}"):
        ask(reply(said("[a]")), decoding=Decoding(extra={name: 1}))


def _several() -> Any:
    output = reply(said("[a]"))
    return output.model_copy(update={"choices": output.choices * 2})


def _calling() -> Any:
    from inspect_ai.tool import ToolCall

    output = reply(said("[a]"))
    output.choices[0].message.tool_calls = [ToolCall(id="1", function="f", arguments={})]
    return output


def _drawn() -> Any:
    from inspect_ai.model import ContentImage

    return reply(said("[a]"), ContentImage(image="data:image/png;base64,"))


@pytest.mark.parametrize(
    ("output", "kind"), [(_several, "several_choices"), (_calling, "tool_call"), (_drawn, "not_text")]
)
def test_what_is_no_single_text_is_a_failure(output: Callable[[], Any], kind: str) -> None:
    with pytest.raises(TargetError) as caught:
        ask(output())
    assert caught.value.kind == kind


def test_an_error_of_a_provider_is_a_failure_and_not_a_reply() -> None:
    def broken() -> Any:
        raise RuntimeError("overloaded")

    with pytest.raises(TargetError, match="RuntimeError: overloaded"):
        ask(broken)


def test_a_package_of_a_vendor_that_is_missing_is_said_with_its_pip_install() -> None:
    async def go() -> None:
        async with inspect_provider(ModelFacts(name="groq/model"), None):
            pass

    with pytest.raises(StudyError, match=r"cannot open 'groq/model': .*Install with: pip install groq$"):
        asyncio.run(go())


def test_a_model_that_inspect_does_not_know_is_said_before_the_first_call() -> None:
    async def go() -> None:
        async with inspect_provider(ModelFacts(name="nobody/model"), None):
            pass

    with pytest.raises(StudyError, match="cannot open 'nobody/model'"):
        asyncio.run(go())

"""The chat-completions dialect over a real socket: what is sent, what comes back, and every way to fail."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from safemlrm import wire
from safemlrm.engine.bench import Options
from safemlrm.engine.run import Run
from safemlrm.errors import StudyError, TargetError
from safemlrm.keys import key_for, with_key
from safemlrm.listing import Server, same_model
from safemlrm.models import ModelFacts
from safemlrm.plugin import Call
from safemlrm.records import Decoding, Image, Prompt, Response, Turn, user
from safemlrm.resolve import resolve
from safemlrm.store import open_store
from safemlrm.study import convert
from safemlrm.targets.openai_compatible import _Endpoint, openai_compatible
from safemlrm.wire import wait as _wait
from support import DROP, Answer, ChatServer, completion

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def ask(url: str, prompt: Prompt | None = None, decoding: Decoding | None = None, **params: Any) -> Response:
    async def go() -> Response:
        async with openai_compatible(ModelFacts(name="m", served="asked-for"), url, **params) as reach:
            return await reach(prompt or user("[placeholder]"), decoding or Decoding(), Call())

    return asyncio.run(go())


def test_what_is_sent_is_the_prompt_in_order_with_every_setting(server: ChatServer) -> None:
    turns = (Turn("system", ("[policy]",)), Turn("user", ("[before]", Image(data=PIXEL), "[after]")))
    decoding = Decoding(max_tokens=9, temperature=0.5, seed=3, extra={"chat_template_kwargs": {"x": True}})
    ask(server.url, Prompt(turns), decoding)
    body = server.bodies[0]
    system, spoken = body.pop("messages")
    assert system == {"role": "system", "content": "[policy]"}
    assert [piece["type"] for piece in spoken["content"]] == ["text", "image_url", "text"]
    address = spoken["content"][1]["image_url"]["url"]
    assert address.startswith("data:image/png;base64,")
    assert base64.b64decode(address.partition(",")[2]) == PIXEL
    expected = {"model": "asked-for", "max_tokens": 9, "temperature": 0.5, "seed": 3}
    assert body == expected | {"chat_template_kwargs": {"x": True}}


def test_settings_that_are_not_set_are_not_sent(server: ChatServer) -> None:
    ask(server.url)
    assert set(server.bodies[0]) == {"model", "max_tokens", "messages"}


def test_a_prefill_is_continued_not_answered(server: ChatServer) -> None:
    ask(server.url, Prompt(user("[q]").turns, prefill="<think>"))
    assert server.bodies[0]["messages"][-1] == {"role": "assistant", "content": "<think>"}
    assert server.bodies[0]["continue_final_message"] is True


def test_a_reply_keeps_every_field_of_the_server(server: ChatServer) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 4}}
    server.behave = lambda body: completion(
        "[answer]", message={"reasoning_content": "[thought]"}, finish_reason="length", model="other-id", usage=usage
    )
    reply = ask(server.url)
    assert (reply.text, reply.reasoning, reply.reasoning_field) == ("[answer]", "[thought]", "reasoning_content")
    assert (reply.stop, reply.stop_detail, reply.model) == ("length", "length", "other-id")
    assert (reply.tokens_in, reply.tokens_out, reply.tokens_reasoning) == (5, 6, 4)


def test_both_spellings_of_split_off_reasoning_are_read(server: ChatServer) -> None:
    server.behave = lambda body: completion("[answer]", message={"reasoning": "[thought]"})
    assert (ask(server.url).reasoning, ask(server.url).reasoning_field) == ("[thought]", "reasoning")


def test_an_answer_of_null_is_an_empty_text_not_a_failure(server: ChatServer) -> None:
    server.behave = lambda body: completion("", message={"content": None, "reasoning": "[only thought]"})
    assert (ask(server.url).text, ask(server.url).reasoning) == ("", "[only thought]")


def test_an_empty_text_that_the_model_ended_is_a_reply(server: ChatServer) -> None:
    server.behave = lambda body: completion("", message={"content": None})
    assert (ask(server.url).text, ask(server.url).stop) == ("", "stop")
    server.behave = lambda body: completion("", finish_reason=None)
    assert (ask(server.url).text, ask(server.url).stop) == ("", "other")


def test_thinking_in_parts_of_the_content_is_thinking(server: ChatServer) -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "[t1]"}, {"type": "text", "text": "[t2]"}]}
    server.behave = lambda body: completion("", message={"content": [thought, {"type": "text", "text": "[a]"}]})
    reply = ask(server.url)
    assert (reply.text, reply.reasoning, reply.reasoning_field) == ("[a]", "[t1][t2]", "content.thinking")


@pytest.mark.parametrize(
    ("kind", "reasoning", "visibility"),
    [
        ("reasoning.text", "[own]", "full"),
        ("reasoning.summary", "[told]", "summary"),
        ("reasoning.encrypted", None, "hidden"),
    ],
)
def test_a_summary_and_reasoning_held_back_are_marked_where_a_gateway_says_so(
    server: ChatServer, kind: str, reasoning: str | None, visibility: str
) -> None:
    message = {"reasoning": reasoning, "reasoning_details": [{"type": kind}]}
    server.behave = lambda body: completion("[a]", message=message)
    assert (ask(server.url).reasoning, ask(server.url).visibility) == (reasoning, visibility)


@pytest.mark.parametrize("usage", [None, [], "many", {"prompt_tokens": "7", "completion_tokens_details": 3}])
def test_counts_that_are_none_cost_nobody_a_reply(server: ChatServer, usage: Any) -> None:
    server.behave = lambda body: completion("[a]", usage=usage)
    reply = ask(server.url)
    assert (reply.text, reply.tokens_in, reply.tokens_out, reply.tokens_reasoning) == ("[a]", None, None, None)


@pytest.mark.parametrize(
    "body",
    [
        '{"object": "error", "message": "no such cup"}',
        '{"detail": [{"msg": "no such cup"}]}',
        "no such cup",
    ],
)
def test_a_refusal_in_any_shape_is_quoted(server: ChatServer, body: str) -> None:
    server.behave = lambda asked: _status(400, body)
    with pytest.raises(TargetError, match=r"HTTP 400: .*no such cup"):
        ask(server.url)


def test_text_in_parts_is_joined(server: ChatServer) -> None:
    parts = [{"type": "text", "text": "[a]"}, {"type": "text", "text": "[b]"}]
    server.behave = lambda body: completion("", message={"content": parts})
    assert ask(server.url).text == "[a][b]"


@pytest.mark.parametrize("status", [200, 400])
def test_a_providers_filter_is_an_outcome_of_its_own(server: ChatServer, status: int) -> None:
    error = {"error": {"code": "content_filter", "message": "filtered"}}
    server.behave = lambda body: web.json_response(error, status=status)
    reply = ask(server.url)
    assert (reply.stop, reply.text, reply.stop_detail) == ("filter", "", "filtered")


def _status(status: int, text: str = '{"error": {"message": "no"}}', **headers: str) -> Answer:
    return web.Response(status=status, text=text, headers=headers, content_type="application/json")


def _packed(body: bytes) -> Answer:
    return web.Response(body=gzip.compress(body, 1), headers={"Content-Encoding": "gzip"})


def _broke(code: int) -> Answer:
    """Answer as a gateway whose model broke in the middle of a reply."""
    choice = {"message": {"content": "[half]"}, "finish_reason": "error", "error": {"code": code, "message": "broke"}}
    return {"choices": [choice]}


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (lambda: _status(500), "server", True),
        (lambda: _status(503, "gone fishing"), "server", True),
        (lambda: _status(429), "rate_limit", True),
        (lambda: _status(401), "auth", False),
        (lambda: _status(400), "request", False),
        (lambda: _status(404), "request", False),
        (lambda: web.Response(text="<html>hello</html>", content_type="text/html"), "not_json", False),
        (lambda: _status(200, '{"choices": []}'), "empty_choices", False),
        (lambda: _status(200, '{"error": {"code": 502, "message": "upstream"}}'), "server", True),
        (lambda: _status(200, "[1, 2]"), "not_json", False),
        (lambda: _status(302, "", Location="http://elsewhere/"), "request", False),
        (lambda: _status(200, '{"choices": [{"message'), "not_json", False),
        (lambda: web.Response(body=b'{"choices": [{"message": {"content": "\xff"}}]}'), "not_json", False),
        (lambda: web.Response(text='data: {"choices": []}\n\n', content_type="text/event-stream"), "not_json", False),
        (lambda: web.Response(body=b" " * (17 * 2**20)), "too_large", False),
        (lambda: _packed(b" " * (40 * 2**20)), "too_large", False),
        (lambda: completion("[a]") | {"choices": [{"message": {"content": "[a]"}}] * 2}, "several_choices", False),
        (lambda: completion("[half]", finish_reason="abort"), "broken_off", True),
        (lambda: completion("[half]", finish_reason="error"), "broken_off", True),
        (lambda: _broke(502), "server", True),
        (lambda: _broke(429), "rate_limit", True),
        (lambda: completion("", message={"content": None, "tool_calls": [{"id": "1"}]}), "tool_call", False),
        (lambda: completion("[a]", message={"function_call": {"name": "f"}}), "tool_call", False),
        (lambda: completion("", message={"content": [{"type": "image_url", "image_url": {}}]}), "not_text", False),
        (lambda: completion("", message={"content": [{"type": "text", "text": None}]}), "not_text", False),
        (lambda: completion("", message={"content": None}, finish_reason=None), "empty", True),
        (lambda: DROP, "connection", True),
    ],
)
def test_every_way_to_fail_is_a_failure_with_its_kind(
    server: ChatServer, answer: Any, kind: str, retryable: bool
) -> None:
    server.behave = lambda body: answer()
    with pytest.raises(TargetError) as caught:
        ask(server.url)
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)


def test_a_call_that_takes_too_long_is_a_failure(server: ChatServer) -> None:
    server.delay = 1.5
    with pytest.raises(TargetError) as caught:
        ask(server.url, timeout=0.2)
    assert (caught.value.kind, caught.value.retryable) == ("timeout", True)


def test_the_servers_wish_to_wait_is_read(server: ChatServer) -> None:
    server.behave = lambda body: _status(429, **{"Retry-After": "7"})
    with pytest.raises(TargetError) as caught:
        ask(server.url)
    assert caught.value.retry_after == 7


@given(st.text())
def test_a_wish_to_wait_that_makes_no_sense_is_ignored(text: str) -> None:
    assert (_wait(text) or 0.0) >= 0.0


def test_nothing_listening_is_one_clear_message() -> None:
    with pytest.raises(StudyError, match=r"nothing answers at http://127\.0\.0\.1:9/v1.*Is the server running"):
        ask("http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (lambda: web.Response(text="<!doctype html><p>hello", content_type="text/html"), "answers with HTML"),
        (lambda: web.Response(status=401, text="{}"), "refuses the key"),
        (lambda: web.Response(status=301, headers={"Location": "http://elsewhere/"}), "redirects to http://elsewhere/"),
    ],
)
def test_an_address_that_is_no_open_door_is_known_before_the_first_call(
    server: ChatServer, models: Any, message: str
) -> None:
    server.models = models
    with pytest.raises(StudyError, match=message):
        ask(server.url)
    assert server.bodies == []


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(StudyError, match="is no address"):
        ask("http://[::1/v1")


def test_a_key_is_read_from_the_variable_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudyError, match=r"no key for api\.openai\.com: set the variable OPENAI_API_KEY"):
        key_for("https://api.openai.com/v1")
    with pytest.raises(StudyError, match="OPENROUTER_API_KEY"):
        key_for("https://openrouter.ai/api/v1")
    monkeypatch.setenv("OPENROUTER_API_KEY", "sesame")
    assert key_for("https://openrouter.ai/api/v1") == "sesame"
    assert key_for("http://127.0.0.1:8000/v1") == "none"


def test_a_key_is_sent_and_never_quoted(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.behave = lambda body: _status(400, json.dumps({"error": {"message": "bad key sk-very-secret"}}))
    with pytest.raises(TargetError) as caught:
        ask(server.url)
    assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        lambda said: _status(502, f"<html>{said}</html>"),
        lambda said: web.Response(text=f"<html>{said}</html>", content_type="text/html"),
        lambda said: _status(200, json.dumps({"choices": [{"message": {}, "error": said}]})),
        lambda said: completion("", message={"content": [{"type": said}]}),
    ],
)
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OUR_GATEWAY", "SOME_PROVIDERS_TOKEN"])
def test_no_error_whatever_quotes_a_key(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, variable: str, answer: Any
) -> None:
    monkeypatch.setenv(variable, "sesame-open")
    server.behave = lambda body: answer("Bearer sesame-open")

    async def go() -> None:
        async with openai_compatible(ModelFacts(name="m", key=variable), server.url) as reach:
            await reach(user("[q]"), Decoding(), Call())

    with pytest.raises(TargetError, match="Bearer") as caught:
        asyncio.run(go())
    assert "sesame" not in str(caught.value)


def test_an_address_that_a_key_was_sent_on_to_is_not_shown_with_it(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame-open")
    server.models = lambda: web.Response(status=302, headers={"Location": "http://elsewhere/?key=sesame-open"})
    with pytest.raises(StudyError, match=r"redirects to http://elsewhere/\?key=\(key\)"):
        ask(server.url)


def test_a_host_table_beside_the_study_names_the_keys_variable(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models.toml").write_text('[hosts."127.0.0.1"]\nkey = "OUR_GATEWAY_KEY"\n')
    monkeypatch.setenv("OUR_GATEWAY_KEY", "sesame")
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    server.behave = lambda body: completion("1" if body["model"] == "j" else "[a]", model=body["model"])
    document: dict[str, Any] = {
        "targets": [f"openai_compatible:m@{server.url}"],
        "data": [{"dataset": "specimen"}],
        "judges": [f"opensafemlrm:j@{server.url}"],
        "limit": 1,
    }
    plan = resolve(convert(document, "test"), beside=tmp_path)
    with open_store(tmp_path / "s.db", create=True) as store:
        asyncio.run(Run(plan, store, Options(beside=tmp_path)).go())
    assert {body["model"] for body in server.bodies} == {"m", "j"}
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer sesame"}


def test_a_missing_key_names_the_variable_of_the_users_own_host(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text('[hosts."models.example.org"]\nkey = "EXAMPLE_KEY"\n')
    facts = with_key(ModelFacts(name="m"), "https://models.example.org/v1", tmp_path)
    with pytest.raises(StudyError, match=r"no key for models\.example\.org: set the variable EXAMPLE_KEY"):
        key_for("https://models.example.org/v1", facts.key)
    assert with_key(ModelFacts(name="m"), "https://elsewhere.example.org/v1", tmp_path).key is None


def listing(engine: str, *models: str) -> Any:
    return lambda: web.json_response({"data": [{"id": name, "owned_by": engine} for name in models]})


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_server_that_strips_special_tokens_is_told_not_to(server: ChatServer, engine: str) -> None:
    server.models = listing(engine, "asked-for")
    ask(server.url)
    assert server.bodies[0]["skip_special_tokens"] is False


def test_the_studys_own_word_on_special_tokens_holds(server: ChatServer) -> None:
    server.models = listing("vllm", "asked-for")
    ask(server.url, decoding=Decoding(extra={"skip_special_tokens": True}))
    assert server.bodies[0]["skip_special_tokens"] is True


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_that_serves_another_model_is_known_before_the_first_call(server: ChatServer, engine: str) -> None:
    server.models = listing(engine, "asked-form", "other")
    with pytest.raises(StudyError, match=r"unknown model 'asked-for'.*Did you mean 'asked-form'"):
        ask(server.url)
    assert server.bodies == []


@pytest.mark.parametrize("asked", ["Qwen/Qwen2.5-VL-7B", "qwen2.5-vl-7b", "qwen2.5-vl-7b:lora"])
def test_sglang_which_takes_any_name_may_be_asked_by_any_name_of_its_model(server: ChatServer, asked: str) -> None:
    server.models = listing("sglang", "Qwen/Qwen2.5-VL-7B")

    async def go() -> Response:
        async with openai_compatible(ModelFacts(name="m", served=asked), server.url) as reach:
            return await reach(user("[q]"), Decoding(), Call())

    assert asyncio.run(go()).text


def test_a_server_that_answers_any_name_is_warned_about(server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    server.models = listing("llamacpp", "/models/other.gguf")
    server.behave = lambda body: completion("[a]", model=body["model"])
    ask(server.url)
    assert "answers as 'asked-for' whatever it is asked for: it says that it has /models/other.gguf" in caplog.text


def test_another_model_than_asked_for_is_warned_about_once_and_stored(
    server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.behave = lambda body: completion("[a]", model="something-else")

    async def go() -> list[Response]:
        async with openai_compatible(ModelFacts(name="m", served="asked-for"), server.url) as reach:
            return [await reach(user("[q]"), Decoding(), Call()) for _ in range(3)]

    assert {reply.model for reply in asyncio.run(go())} == {"something-else"}
    assert [record.message.count("'something-else'") for record in caplog.records] == [1]


@pytest.mark.parametrize(
    ("asked", "reported", "same"),
    [
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", True),
        ("gpt-4o-mini", "gpt-4o", False),
        ("gpt-4o", "gpt-4o-mini", False),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen/qwen2.5-vl-7b-instruct", True),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Other/Qwen2.5-VL-7B-Instruct", False),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-72B-Instruct", False),
        ("my-tune", "/data/checkpoints/my-tune/", True),
        ("qwen/qwen-vl", "qwen/qwen-vl:free", True),
        ("model", "", False),
    ],
)
def test_two_names_of_one_model_are_told_from_two_models(asked: str, reported: str, same: bool) -> None:
    assert same_model(asked, reported) is same


def _rejects(name: str, message: str) -> Any:
    error = {"error": {"message": message, "type": "invalid_request_error"}}
    return lambda body: web.json_response(error, status=400) if name in body else completion("[a]", model="asked-for")


def test_a_host_that_calls_the_limit_otherwise_is_asked_again_its_way(server: ChatServer) -> None:
    server.behave = _rejects(
        "max_tokens", "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    )
    assert ask(server.url, decoding=Decoding(max_tokens=9)).text == "[a]"
    assert [body.get("max_completion_tokens") for body in server.bodies] == [None, 9]


def test_a_host_that_takes_no_seed_is_asked_without_and_that_is_said(
    server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.behave = _rejects("seed", "Unknown parameter: 'seed'.")
    assert ask(server.url, decoding=Decoding(seed=3)).text == "[a]"
    assert ["seed" in body for body in server.bodies] == [True, False]
    assert "takes no seed" in caplog.text


def test_a_host_that_refuses_any_other_setting_is_a_failure_not_a_guess(server: ChatServer) -> None:
    server.behave = _rejects("top_k", "Unknown parameter: 'top_k'.")
    with pytest.raises(TargetError, match="top_k"):
        ask(server.url, decoding=Decoding(top_k=1, seed=3))
    assert len(server.bodies) == 1


def test_every_setting_of_a_model_goes_out_beside_its_own_extras(server: ChatServer) -> None:
    kwargs = {"chat_template_kwargs": {"enable_thinking": False}, "thinking_token_budget": 7}
    ask(server.url, decoding=Decoding(top_k=20, top_p=0.95, presence_penalty=1.5, stop=("[end]",), extra=kwargs))
    body = server.bodies[0]
    assert (body["top_k"], body["top_p"], body["presence_penalty"], body["stop"]) == (20, 0.95, 1.5, ["[end]"])
    assert body["chat_template_kwargs"] == {"enable_thinking": False} and body["thinking_token_budget"] == 7


@pytest.mark.parametrize("name", ["model", "messages", "temperature"])
def test_an_extra_field_does_not_replace_what_has_a_place_of_its_own(server: ChatServer, name: str) -> None:
    with pytest.raises(TargetError, match=f"extra holds {name}"):
        ask(server.url, decoding=Decoding(extra={name: "x"}))
    assert server.bodies == []


def _body_at(url: str, prompt: Prompt) -> dict[str, Any]:
    """Return what would be sent to a host that no test may call."""
    endpoint = _Endpoint(None, url, "m", ModelFacts(name="m"), Server(), wire.dialect_of(url))  # type: ignore[arg-type]
    document: dict[str, Any] = json.loads(endpoint._body(prompt, Decoding(max_tokens=9)))
    return document


def test_hosts_with_their_own_way_to_open_a_reply_get_it() -> None:
    prompt = Prompt(user("[q]").turns, prefill="<think>")
    moonshot = _body_at("https://api.moonshot.ai/v1", prompt)
    assert moonshot["messages"][-1] == {"role": "assistant", "content": "<think>", "partial": True}
    assert "continue_final_message" not in moonshot
    with pytest.raises(TargetError, match=r"api\.openai\.com lets nobody open the model's reply"):
        _body_at("https://api.openai.com/v1", prompt)


def test_openai_itself_is_given_the_limit_by_the_name_that_all_its_models_take() -> None:
    assert _body_at("https://api.openai.com/v1", user("[q]"))["max_completion_tokens"] == 9


@pytest.mark.parametrize("code", ["content_filter", "DataInspectionFailed", "content_policy_violation"])
def test_every_providers_word_for_its_filter_is_known(server: ChatServer, code: str) -> None:
    server.behave = lambda body: web.json_response({"error": {"code": code, "message": "no"}}, status=400)
    assert ask(server.url).stop == "filter"


def test_a_gateways_moderation_is_a_filter_and_not_a_refused_key(server: ChatServer) -> None:
    error = {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"], "flagged_input": "y"}}}
    server.behave = lambda body: web.json_response(error, status=403)
    assert ask(server.url).stop == "filter"


@pytest.mark.parametrize(
    ("word", "stop"), [("content_filter: SEXUAL", "filter"), ("SAFETY", "filter"), ("tool_calls", "other")]
)
def test_a_stop_is_read_from_the_servers_own_word(server: ChatServer, word: str, stop: str) -> None:
    server.behave = lambda body: completion("[a]", finish_reason=word)
    assert (ask(server.url).stop, ask(server.url).stop_detail) == (stop, word)


def test_a_models_own_refusal_is_its_reply_and_no_filter(server: ChatServer) -> None:
    server.behave = lambda body: completion("", message={"content": None, "refusal": "[I decline]"})
    assert (ask(server.url).text, ask(server.url).stop) == ("[I decline]", "stop")


def test_reasoning_tokens_are_read_where_sglang_counts_them(server: ChatServer) -> None:
    server.behave = lambda body: completion("[a]", usage={"completion_tokens": 6, "reasoning_tokens": 4})
    assert ask(server.url).tokens_reasoning == 4
    details = {"completion_tokens_details": {"reasoning_tokens": 0}}
    server.behave = lambda body: completion("[a]", usage={"completion_tokens": 6} | details)
    assert ask(server.url).tokens_reasoning == 0

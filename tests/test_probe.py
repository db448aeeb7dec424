"""`safemlrm probe`: what is said of endpoints with different manners, and what a run is warned about."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from safemlrm import cli, manners, probing
from safemlrm.engine.bench import Options
from safemlrm.engine.probed import latest, shortcomings
from safemlrm.engine.run import Run
from safemlrm.errors import TargetError, UnknownName
from safemlrm.manners import MANNERS
from safemlrm.models import ModelFacts
from safemlrm.probing import QUESTIONS, WORDS, Finding, picture, probe
from safemlrm.records import Decoding, Prompt, Response
from safemlrm.resolve import resolve
from safemlrm.specimen_server import app
from safemlrm.store import open_store
from safemlrm.study import convert
from safemlrm.thinking.formats import Delimiters, Format
from support import ChatServer, completion, part

GOOD = dict.fromkeys(QUESTIONS, "yes") | {"shows_thinking": "no"}


@contextmanager
def served(*kinds: str) -> Iterator[str]:
    """Serve an endpoint with these manners on loopback, and give its base URL."""
    ready, end = threading.Event(), []

    async def serve() -> None:
        runner = web.AppRunner(app(frozenset(kinds)), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stop = asyncio.Event()
        end.extend([asyncio.get_running_loop(), stop, runner.addresses[0][1]])
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"http://127.0.0.1:{end[2]}/v1"
    finally:
        end[0].call_soon_threadsafe(end[1].set)
        thread.join(10)


def states(url: str, capsys: pytest.CaptureFixture[str], model: str = "tested") -> dict[str, str]:
    """Probe an endpoint from the command line and return the state of every finding."""
    assert cli.run(["probe", f"openai_compatible:{model}@{url}", "--json"]) == 0
    return {found["name"]: found["state"] for found in json.loads(capsys.readouterr().out)["findings"]}


def test_an_endpoint_that_does_everything_right_is_said_to(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served() as url:
        assert states(url, capsys) == GOOD


@pytest.mark.parametrize(
    ("manner", "found"),
    [
        ("text_only", {"reads_images": "no", "reads_several_images": "no"}),
        ("one_picture", {"reads_several_images": "no"}),
        ("no_system", {"honours_system_prompt": "no"}),
        ("no_prefill", {"continues_prefill": "no"}),
        ("restless", {"repeats_at_temperature_0": "no", "honours_seed": "no"}),
        ("no_seed", {"honours_seed": "no"}),
        ("no_limit", {"stops_at_token_limit": "no"}),
        ("think_tags", {"shows_thinking": "yes"}),
        ("reasoning", {"shows_thinking": "yes"}),
        ("reasoning_content", {"shows_thinking": "yes"}),
        ("hidden", {}),
        ("other_model", {"is_the_model_asked_for": "no"}),
    ],
)
def test_every_manner_is_found_out_and_nothing_else(
    in_folder: Path, capsys: pytest.CaptureFixture[str], manner: str, found: dict[str, str]
) -> None:
    with served(manner) as url:
        assert states(url, capsys) == GOOD | found


def test_every_manner_is_tested() -> None:
    marks = test_every_manner_is_found_out_and_nothing_else.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(MANNERS)
    with pytest.raises(UnknownName, match="Did you mean 'text_only'"):
        manners.check(frozenset({"text-only"}))


def test_the_form_of_the_thinking_is_told(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served("reasoning_content") as url:
        assert cli.run(["probe", f"openai_compatible:tested@{url}"]) == 0
    shown = capsys.readouterr().out
    assert "in the field reasoning_content" in shown and "stops at token limit" in shown
    with served("hidden") as url:
        assert cli.run(["probe", f"openai_compatible:tested@{url}"]) == 0
    assert "64 reasoning tokens are counted and not shown" in capsys.readouterr().out


def test_a_call_that_fails_is_no_property_of_the_model(
    in_folder: Path, capsys: pytest.CaptureFixture[str], server: ChatServer
) -> None:
    server.behave = lambda body: web.json_response({"error": {"message": "no pictures here"}}, status=400)
    assert cli.run(["probe", f"openai_compatible:tested@{server.url}", "--json"]) == 2
    found = {f["name"]: f["state"] for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["reads_images"] == found["answers"] == "failed"
    assert found["continues_prefill"] == "no"
    assert found["is_the_model_asked_for"] == found["counts_tokens"] == "unclear"


async def _answered(text: str, **fields: Any) -> dict[str, Finding]:
    async def send(prompt: Prompt, decoding: Decoding) -> Response:
        return Response(text=text, **fields)

    found = await probe(send, ModelFacts(name="m", known=False, format="auto"), Decoding())
    return {finding.name: finding for finding in found}


def test_the_table_shows_answers_and_nothing_that_drives_a_terminal() -> None:
    found = asyncio.run(_answered("<think>[long thought]</think>Hello\x1b[2J there."))
    assert found["answers"].detail == "Hello\ufffd[2J there."
    found = asyncio.run(_answered("<think>[long thought]", model="m\x07"))
    assert found["answers"].detail == "(only thinking) [long thought]"
    assert found["is_the_model_asked_for"].detail == "m\ufffd"


@pytest.mark.parametrize(
    ("text", "fields", "state"),
    [
        ("1, 2", {}, "unclear"),
        ("1, 2", {"stop": "length"}, "yes"),
        ("1, " * 40, {}, "no"),
        ("1", {"tokens_out": 40}, "no"),
    ],
)
def test_a_reply_that_ends_before_the_limit_does_not_tell_of_it(text: str, fields: dict[str, Any], state: str) -> None:
    assert asyncio.run(_answered(text, **fields))["stops_at_token_limit"].state == state


def test_the_users_own_format_tells_the_thinking(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = '[formats.mine]\nthinking = [["<muse>", "</muse>"]]\n[models.one]\nformat = "mine"\n'
    (in_folder / "models.toml").write_text(written)
    server = ChatServer()
    server.start()
    try:
        server.behave = lambda body: completion("<muse>[t]</muse>[a]", model="one")
        target = f"openai_compatible:one@{server.url}"
        assert cli.run(["probe", target, "--beside", str(in_folder), "--json"]) == 0
    finally:
        server.stop()
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["shows_thinking"]["state"] == "yes"
    assert "as mine, 3 characters; the registry says mine" in found["shows_thinking"]["detail"]


def test_a_target_without_an_address_is_refused(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["probe", "r1-onevision-7b"]) == 1
    assert "has no address" in capsys.readouterr().err


def test_a_dozen_calls_are_made_and_each_is_in_the_ledger(in_folder: Path, server: ChatServer) -> None:
    cli.run(["probe", f"openai_compatible:tested@{server.url}", "--store", "p.db"])
    assert len(server.bodies) == 13
    from safemlrm.store import schema

    with open_store("p.db") as store:
        assert store.count(schema.calls) == len(server.bodies)
        assert store.count(schema.probes) == 1
        assert store.count(schema.trials) == 0


def plan(url: str, **fields: Any) -> Any:
    model = fields.pop("model", "r1-onevision-7b")
    document = {"targets": [f"openai_compatible:{model}@{url}"], "data": [{"dataset": "specimen"}]}
    return resolve(convert(document | {"judges": ["specimen"], "limit": 2} | fields, "test"))


def test_a_run_is_warned_of_what_its_study_needs_and_the_probe_found_missing(
    in_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = [{"dataset": "specimen", "attacks": ["none", 'released(name="SD_TYPO")']}]
    with served("text_only", "no_system", "no_seed") as url, open_store("p.db", create=True) as store:
        needing = plan(url, data=pictures, promptings=["think"], seeds=2)
        assert shortcomings(needing, store) == []
        cli.run(["probe", f"openai_compatible:r1-onevision-7b@{url}", "--store", "p.db"])
        warned = shortcomings(needing, store)
        assert [w.partition("found ")[2].partition(" = ")[0] for w in warned] == [
            *("reads_images", "honours_system_prompt", "honours_seed", "shows_thinking")
        ]
        assert "incapacity is measured, not safety" in warned[0]
        assert [w.partition("found ")[2].partition(" = ")[0] for w in shortcomings(plan(url), store)] == [
            "shows_thinking"
        ]
        asyncio.run(Run(needing, store, Options(judging=False)).go())
    assert caplog.text.count("its probe found") == 4


def test_what_a_question_could_not_find_out_is_warned_about_too(in_folder: Path, server: ChatServer) -> None:
    def behave(body: dict[str, Any]) -> Any:
        if "image_url" in str(body):
            return web.json_response({"error": {"message": "no pictures here"}}, status=400)
        return completion("[a]", model="m")

    server.behave = behave
    pictures = [{"dataset": "specimen", "attacks": ["none", 'released(name="SD_TYPO")']}]
    with open_store("p.db", create=True) as store:
        cli.run(["probe", f"openai_compatible:m@{server.url}", "--store", "p.db"])
        warned = shortcomings(plan(server.url, model="m", data=pictures), store)
    assert 'specimen under released(name="SD_TYPO") shows pictures' in warned[0]
    assert "reads_images = failed (HTTP 400: no pictures here)" in warned[0]


def test_settings_of_a_study_are_held_against_the_probe_too(in_folder: Path) -> None:
    with served("no_system", "no_limit", "restless") as url, open_store("p.db", create=True) as store:
        cli.run(["probe", f"openai_compatible:m@{url}", "--store", "p.db"])
        asked = plan(url, model="m", defenses=["safety_prompt"], decoding={"temperature": 0.0, "max_tokens": 9})
        warned = shortcomings(asked, store)
    assert [w.partition("found ")[2].partition(" = ")[0] for w in warned] == [
        *("honours_system_prompt", "repeats_at_temperature_0", "stops_at_token_limit")
    ]


def test_the_newest_probe_of_that_endpoint_counts(in_folder: Path) -> None:
    with open_store("p.db", create=True) as store:
        with served("text_only") as url:
            cli.run(["probe", f"openai_compatible:m@{url}", "--store", "p.db"])
            model = plan(url, model="m").models[0]
            cli.run(["probe", f"openai_compatible:other@{url}", "--store", "p.db"])
            found = latest(store, model)
            assert found is not None and found.state("reads_images") == "no"
            assert found.state("a question of a later release") == "unclear"
        assert latest(store, plan("http://127.0.0.1:1/v1", model="m").models[0]) is None


def test_words_are_drawn_large_and_differently(in_folder: Path) -> None:
    seen = set()
    for word in WORDS:
        drawn = Pillow.open(io.BytesIO(picture(word).read()))
        dark = drawn.convert("L").point(lambda value: 255 - value).getbbox()
        assert drawn.size == (640, 200) and dark is not None
        assert dark[2] - dark[0] > 300 and dark[0] > 20 and dark[2] < 620
        seen.add(picture(word).read())
    assert len(seen) == len(WORDS)


@given(st.lists(st.text(), min_size=1, max_size=5), st.booleans())
@settings(deadline=None, max_examples=60)
def test_any_reply_whatever_gives_every_finding(texts: list[str], split: bool) -> None:
    said = cycle(texts)

    async def send(prompt: Prompt, decoding: Decoding) -> Response:
        return Response(text=next(said), reasoning=next(said) if split else None)

    found = asyncio.run(probe(send, ModelFacts(name="m", known=False, format="auto"), Decoding()))
    assert [finding.name for finding in found] == list(QUESTIONS)


def test_of_a_reply_that_was_cut_off_nothing_is_said_to_be_missing() -> None:
    async def send(prompt: Prompt, decoding: Decoding) -> Response:
        return Response(text="<think>so many thoughts", stop="length")

    found = {f.name: f for f in asyncio.run(probe(send, ModelFacts(name="m", known=False, format="auto"), Decoding()))}
    for name in ("reads_images", "reads_several_images", "honours_system_prompt"):
        assert found[name].state == "unclear" and "--max-tokens" in found[name].detail


def test_a_users_own_format_is_recognised() -> None:
    async def send(prompt: Prompt, decoding: Decoding) -> Response:
        return Response(text="[[thought]] answer")

    own = {"mine": Format(thinking=(Delimiters("[[", "]]"),))}
    for facts in (ModelFacts(name="m", format="mine", own=own), ModelFacts(name="m", format="auto", own=own)):
        found = {f.name: f for f in asyncio.run(probe(send, facts, Decoding()))}
        assert found["shows_thinking"].state == "yes" and "as mine" in found["shows_thinking"].detail


def test_a_failed_question_leaves_the_others() -> None:
    calls = 0

    async def send(prompt: Prompt, decoding: Decoding) -> Response:
        nonlocal calls
        calls += 1
        if prompt.images():
            raise TargetError("server", "no pictures today", retryable=True)
        return Response(text="Hello. LANTERN", model="m")

    found = asyncio.run(probe(send, ModelFacts(name="m"), Decoding()))
    failed = [finding for finding in found if finding.state == "failed"]
    assert failed == [Finding(n, "failed", "no pictures today") for n in ("reads_images", "reads_several_images")]
    assert calls > 8


@pytest.mark.slow
def test_a_tiny_local_model_is_probed(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part(find_spec("torch") and find_spec("transformers") and find_spec("torchvision"), "the extra `local` (torch)")
    from test_transformers_local import CLASSES

    make: Callable[[Path], None] = CLASSES["qwen2-vl"]
    make(in_folder / "weights")
    assert cli.run(["probe", str(in_folder / "weights"), "--max-tokens", "32", "--json"]) == 0
    found = {f["name"]: f["state"] for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["reads_images"] in ("no", "unclear")  # random weights reach the token limit
    assert found["repeats_at_temperature_0"] == found["honours_seed"] == found["stops_at_token_limit"] == "yes"
    assert found["is_the_model_asked_for"] == found["counts_tokens"] == "yes"


def test_the_questions_are_harmless_and_short() -> None:
    asked = [getattr(probing, name) for name in ("READ", "READ_BOTH", "SYSTEM", "GREET", "RECITE", "LETTERS", "COUNT")]
    assert all(len(text) < 120 for text in asked)

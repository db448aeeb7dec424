"""Servers started for a study: a stand-in on the PATH that behaves as vLLM does, in all the ways it can."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from safemlrm import cli
from safemlrm.engine.bench import Options
from safemlrm.engine.command import command
from safemlrm.engine.run import Run
from safemlrm.engine.serving import tail
from safemlrm.errors import StudyError
from safemlrm.resolve import resolve
from safemlrm.store import Store, frames, open_store
from safemlrm.study import convert
from support import ChatServer

#: `vllm serve MODEL --port N ...` in the standard library. The environment tells how it behaves, by model.
STAND_IN = """#!{python}
import http.server, json, os, signal, subprocess, sys, threading, time
model, port = sys.argv[2], int(sys.argv[sys.argv.index("--port") + 1])
told = {{name: value for name, value in os.environ.items() if value.startswith("sesame")}}
manner = json.loads(os.environ.get("STAND_IN", "{{}}")).get(model, "")
with open(os.environ["STAND_IN_LOG"], "a") as log:
    log.write(json.dumps({{"pid": os.getpid(), "args": sys.argv[1:], "at": time.time(), "told": told}}) + "\\n")
print("INFO loading", model, flush=True)
if manner == "fails":
    print("ValueError: no kernel for this GPU", os.environ.get("HF_TOKEN", ""), flush=True)
    sys.exit(1)
if manner == "silent":
    signal.pause()
if manner == "taken" and not os.path.exists(os.environ["STAND_IN_LOG"] + ".once"):
    open(os.environ["STAND_IN_LOG"] + ".once", "w").close()
    print("OSError: [Errno 98] Address already in use", flush=True)
    sys.exit(1)
if manner == "slow":
    for step in range(5):
        print("Loading checkpoint shards:", step, "of 5", flush=True)
        time.sleep(0.1)
worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
with open(os.environ["STAND_IN_LOG"] + ".workers", "a") as log:
    log.write(str(worker.pid) + "\\n")
answered = [0]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def send(self, document):
        data = json.dumps(document).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        if "VLLM_API_KEY" in os.environ:
            self.send_response(401); self.send_header("Content-Length", "0"); self.end_headers(); return
        if self.path == "/version":
            return self.send({{"version": "0.33.0"}})
        self.send({{"data": [{{"id": model, "owned_by": "vllm"}}]}})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answered[0] += 1
        if manner == "hangs":
            time.sleep(600)
        if manner == "dies" and answered[0] > 3:
            print("CUDA error: an illegal memory access was encountered", flush=True)
            os._exit(1)
        message = {{"role": "assistant", "content": "<think>t</think>a"}}
        self.send({{"model": body["model"], "choices": [{{"message": message, "finish_reason": "stop"}}]}})

http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class Vllm:
    """The stand-in's records: how often it was started, with what, and whether anything of it is left."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def starts(self) -> list[dict[str, Any]]:
        import json

        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def models(self) -> list[str]:
        return [start["args"][1] for start in self.starts()]

    def left(self) -> list[int]:
        """Return which of its processes, workers included, still run."""
        workers = Path(f"{self.log}.workers")
        pids = [start["pid"] for start in self.starts()]
        pids += [int(line) for line in workers.read_text().split()] if workers.exists() else []
        return [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vllm:
    """A `vllm` on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "vllm"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "starts"))
    return Vllm(tmp_path / "starts")


def manners(monkeypatch: pytest.MonkeyPatch, **by_model: str) -> None:
    import json

    monkeypatch.setenv("STAND_IN", json.dumps(by_model))


def target(model: str, **serving: Any) -> dict[str, Any]:
    return {"model": model, "serve": "vllm", "serving": serving}


def study(targets: list[dict[str, Any]]) -> Any:
    data = [{"dataset": 'specimen(scenarios=["06-Fraud"])'}]
    document = {"targets": targets, "data": data, "limit": 6, "judges": ["specimen"]}
    return convert(document, "test")


async def go(store: Store, *targets: dict[str, Any], **options: Any) -> Run:
    run = Run(resolve(study(list(targets))), store, Options(concurrency=2, judging=False, **options))
    await run.go()
    return run


def states(store: Store, run: Run) -> dict[str, dict[str, int]]:
    """Return how many trials of each model are in each state."""
    counts: dict[str, dict[str, int]] = {}
    for row in frames.trials(store, [run.id]).to_dicts():
        mine = counts.setdefault(row["model"], {})
        mine[row["state"]] = mine.get(row["state"], 0) + 1
    return counts


def test_three_models_are_served_one_after_the_other_and_nothing_is_left(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manners(monkeypatch, b="slow")
    with open_store("s.db", create=True) as store:
        run = asyncio.run(go(store, target("a"), target("b"), target("c")))
        assert run.outcome == "done"
        assert states(store, run) == {name: {"answered": 6} for name in "abc"}
    assert vllm.models() == ["a", "b", "c"]
    assert vllm.left() == []
    assert (in_folder / "serve-logs" / "b.vllm.log").read_text().count("Loading checkpoint") == 5


def test_a_server_that_dies_costs_only_its_own_trials_and_the_same_command_goes_on(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manners(monkeypatch, b="dies")
    with open_store("s.db", create=True) as store:
        run = asyncio.run(go(store, target("a"), target("b"), target("c")))
        seen = states(store, run)
        assert seen["a"] == seen["c"] == {"answered": 6}
        assert seen["b"]["answered"] == 3 and 1 <= seen["b"]["failed"] <= 2
        assert run.outcome is not None and "vllm for b died" in run.outcome and "illegal memory access" in run.outcome
        assert vllm.left() == []
        manners(monkeypatch)
        run = asyncio.run(go(store, target("a"), target("b"), target("c")))
        assert "pending" not in states(store, run)["b"]
        run = asyncio.run(go(store, target("a"), target("b"), target("c"), retry_failed=True))
        assert states(store, run) == {name: {"answered": 6} for name in "abc"}
    assert set(vllm.models()[3:]) == {"b"}


def test_a_server_that_does_not_start_leaves_its_trials_pending_and_says_why(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manners(monkeypatch, a="fails")
    with open_store("s.db", create=True) as store:
        run = asyncio.run(go(store, target("a"), target("b")))
        assert states(store, run) == {"a": {"pending": 6}, "b": {"answered": 6}}
    assert run.outcome is not None and "vllm for a did not start" in run.outcome
    assert "no kernel for this GPU" in run.outcome and "a.vllm.log" in run.outcome
    assert "ended by itself with exit code 1" in run.outcome


def test_every_model_that_did_not_start_is_named_and_no_log_shows_a_key(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manners(monkeypatch, a="fails", b="fails")
    monkeypatch.setenv("HF_TOKEN", "hf_open_sesame")
    targets = "".join(f'[[targets]]\nmodel = "{name}"\nserve = "vllm"\n' for name in "ab")
    (in_folder / "s.toml").write_text(f'{targets}[[data]]\ndataset = "specimen"\n')
    assert cli.run(["run", "s.toml", "--limit", "2", "--no-judge"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("given up: 4 planned, 0 answered, 0 blocked, 0 failed, 4 pending")
    for name in "ab":
        assert f"vllm for {name} did not start: ValueError: no kernel for this GPU (key)\n" in err
    assert "sesame" not in out + err and err.endswith("goes on.\n")


def test_a_licence_that_may_stand_before_the_weights_is_named_when_they_do_not_load(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manners(monkeypatch, **{"me/one": "fails"})
    (in_folder / "models.toml").write_text('[models.one]\nhub = "me/one"\ngate = "https://example.org/accept"\n')
    with open_store("s.db", create=True) as store:
        run = Run(resolve(study([target("one")]), beside=in_folder), store, Options(judging=False))
        outcome = asyncio.run(run.go())
    assert outcome.endswith("The licence of its weights is accepted at https://example.org/accept")


def test_the_version_of_a_served_engine_is_kept(vllm: Vllm, in_folder: Path) -> None:
    with open_store("s.db", create=True) as store:
        asyncio.run(go(store, target("a")))
        assert frames.engines(store) == {"a": {"vllm 0.33.0"}}


def test_a_key_in_the_environment_locks_no_server_of_ours(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "anything")
    with open_store("s.db", create=True) as store:
        assert asyncio.run(go(store, target("a"))).outcome == "done"


def test_a_server_is_told_no_key_but_the_one_that_gated_weights_need(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "GITHUB_PAT", "HF_TOKEN", "VLLM_SETTING"):
        monkeypatch.setenv(name, "sesame-1")
    with open_store("s.db", create=True) as store:
        asyncio.run(go(store, target("a")))
    assert [set(start["told"]) for start in vllm.starts()] == [{"HF_TOKEN", "VLLM_SETTING"}]


def test_a_server_that_wants_a_key_is_said_at_once(vllm: Vllm, in_folder: Path) -> None:
    command = ["env", "VLLM_API_KEY=anything", "vllm", "serve"]
    with open_store("s.db", create=True) as store:
        outcome = asyncio.run(go(store, target("a", command=command))).outcome
    assert outcome is not None and "refuses the key (HTTP 401)" in outcome
    assert vllm.left() == []


def test_a_server_that_never_answers_is_given_up_in_time(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manners(monkeypatch, a="silent")
    with open_store("s.db", create=True) as store:
        run = asyncio.run(go(store, target("a", start_within=0.3)))
    assert run.outcome is not None and "did not answer within" in run.outcome
    assert vllm.left() == []


def test_a_port_that_was_taken_meanwhile_is_changed(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manners(monkeypatch, a="taken")
    with open_store("s.db", create=True) as store:
        run = asyncio.run(go(store, target("a")))
    assert run.outcome == "done" and vllm.models() == ["a", "a"]


def test_a_named_port_that_is_taken_is_said_with_what_is_there(vllm: Vllm, in_folder: Path, server: ChatServer) -> None:
    with open_store("s.db", create=True) as store:
        run = asyncio.run(go(store, target("a", port=server.port)))
    assert (
        run.outcome is not None
        and f"port {server.port} is taken by something else; it serves served-model" in run.outcome
    )
    assert vllm.starts() == []


def test_a_port_taken_by_what_is_no_model_server_is_said_too(vllm: Vllm, in_folder: Path) -> None:
    with socket.socket() as other, open_store("s.db", create=True) as store:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        run = asyncio.run(go(store, target("a", port=port)))
    assert run.outcome is not None and f"port {port} is taken" in run.outcome


def test_a_server_that_is_up_already_is_used_and_left_up(vllm: Vllm, in_folder: Path, server: ChatServer) -> None:
    with open_store("s.db", create=True) as store:
        run = asyncio.run(go(store, target("served-model", port=server.port)))
        assert states(store, run) == {"served-model": {"answered": 6}}
    assert vllm.starts() == [] and len(server.bodies) == 6


def test_an_engine_that_is_not_installed_is_known_before_the_first_call(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(in_folder))
    with open_store("s.db", create=True) as store, pytest.raises(StudyError, match="no 'vllm' on the PATH"):
        asyncio.run(go(store, target("a")))


def test_a_missing_extra_is_known_before_the_first_call(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safemlrm.engine.serving.find_spec", lambda name: None if name == "torch" else name)
    with (
        open_store("s.db", create=True) as store,
        pytest.raises(StudyError, match=r"which needs torch: install it with `pip install 'safemlrm\[local\]'`"),
    ):
        asyncio.run(go(store, {"model": "transformers_local:/nowhere"}))


def test_stopping_while_a_server_starts_ends_it(vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manners(monkeypatch, a="silent")

    async def stopped(store: Store) -> Run:
        run = Run(resolve(study([target("a"), target("b")])), store, Options(judging=False))
        going = asyncio.create_task(run.go())
        while not vllm.starts():
            await asyncio.sleep(0.02)
        assert run.counts.phase.startswith(("starting vllm for a", "planning", "running"))
        run.stop()
        await going
        return run

    with open_store("s.db", create=True) as store:
        assert asyncio.run(stopped(store)).outcome == "stopped"
    assert vllm.models() == ["a"] and vllm.left() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("who", ["warden", "server"])
def test_a_server_or_its_warden_that_is_killed_leaves_no_worker_behind(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    manners(monkeypatch, a="hangs")

    async def killed(store: Store) -> Run:
        run = Run(resolve(study([target("a")])), store, Options(judging=False))
        going = asyncio.create_task(run.go())
        while run.counts.phase != "running" or len(vllm.left()) < 2:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        server = vllm.starts()[0]["pid"]
        warden = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(warden if who == "warden" else server, signal.SIGKILL)
        await going
        return run

    with open_store("s.db", create=True) as store:
        outcome = asyncio.run(killed(store)).outcome
    assert outcome is not None and "vllm for a died" in outcome
    _until(lambda: not vllm.left())


def test_a_run_that_is_killed_leaves_no_server_behind(
    vllm: Vllm, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manners(monkeypatch, a="silent")
    (in_folder / "s.toml").write_text(
        'judges = ["specimen"]\n[[targets]]\nmodel = "a"\nserve = "vllm"\n[[data]]\ndataset = "specimen"\n'
    )
    run = subprocess.Popen([sys.executable, "-m", "safemlrm", "run", "s.toml"], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: bool(vllm.starts()))
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    _until(lambda: not vllm.left())


def _until(done: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def test_a_server_is_given_the_registrys_flags_and_no_reasoning_parser() -> None:
    plan = resolve(
        study([{"model": "r1-onevision-7b", "serve": "vllm", "serving": {"flags": ["--max-model-len", "8192"]}}])
    )
    written = command(plan.models[0], 8123)
    assert written[:3] == ["vllm", "serve", "Fancy-MLLM/R1-Onevision-7B"]
    assert written[written.index("--port") + 1] == "8123"
    assert written[-2:] == ["--max-model-len", "8192"]
    assert not any("reasoning" in word for word in written)
    assert plan.models[0].identity()["flags"] == ["--max-model-len", "8192"]


def served(name: str, engine: str, beside: Path | None = None, **serving: Any) -> list[str]:
    """Return the flags, after host and port, that a model is served with."""
    fields = {"model": name, "serve": engine, "serving": serving}
    written = command(resolve(study([fields]), beside=beside).models[0], 1)
    return written[written.index("--port") + 2 :]


@pytest.mark.parametrize(
    ("name", "vllm", "sglang"),
    [
        (
            "mulberry-qwen2vl-7b",
            ["--mm-processor-kwargs", '{"max_pixels":1003520,"min_pixels":200704}'],
            ["--mm-process-config", '{"image":{"max_pixels":1003520,"min_pixels":200704}}'],
        ),
        (
            "openvlthinker-7b",
            ["--tokenizer", "Qwen/Qwen2.5-VL-7B-Instruct"],
            ["--tokenizer-path", "Qwen/Qwen2.5-VL-7B-Instruct"],
        ),
        ("kimi-vl-a3b-thinking", ["--trust-remote-code"], ["--trust-remote-code"]),
        ("mulberry-llava-8b", ["--dtype", "float16"], ["--dtype", "float16"]),
        # special tokens are kept call by call, which no flag of either engine does
        ("glm-4.1v-9b-thinking", [], []),
    ],
)
def test_what_the_registry_says_of_serving_becomes_each_engines_flags(
    name: str, vllm: list[str], sglang: list[str]
) -> None:
    assert served(name, "vllm") == vllm
    assert served(name, "sglang") == sglang


def test_the_most_pictures_of_a_prompt_are_told_to_the_engine(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text('[models.one]\nhub = "me/one"\nserve = {images = 1}\n')
    assert served("one", "vllm", tmp_path) == ["--limit-mm-per-prompt", '{"image":1}']
    assert served("mulberry-llama-11b", "sglang") == [
        *("--dtype", "bfloat16", "--limit-mm-data-per-request", '{"image":1}')
    ]


def test_a_pinned_model_takes_the_newest_tokenizer_of_another_repository(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(
        '[models.one]\nhub = "me/one"\nrevision = "abc"\nserve = {processor_from = "me/two"}\n'
    )
    assert served("one", "vllm", tmp_path) == [
        *("--revision", "abc", "--tokenizer", "me/two", "--tokenizer-revision", "main")
    ]


def test_a_reasoning_parser_in_a_users_own_row_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text('[models.one]\nserve = {flags = ["--reasoning-parser=qwen3"]}\n')
    with pytest.raises(StudyError, match="without a reasoning parser"):
        served("one", "vllm", tmp_path)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_both_members_of_a_pair_see_pictures_within_the_same_limits(engine: str) -> None:
    names = ("qwen2-vl-7b-instruct", "mulberry-qwen2vl-7b")
    plan = resolve(study([{"model": name, "serve": engine} for name in names]))
    base, derived = (command(model, 1)[-2:] for model in plan.models)
    assert base == derived and "max_pixels" in base[1]
    assert not any("differ in more" in warning for warning in plan.warnings)
    alone = resolve(study([{"model": names[0], "serve": engine}])).models[0]
    assert "max_pixels" not in str(command(alone, 1))
    assert plan.models[0].identity() == alone.identity() | {"limits": derived_limits()}


def derived_limits() -> dict[str, int]:
    return {"min_pixels": 200704, "max_pixels": 1003520}


def test_a_base_of_models_that_disagree_keeps_its_own_limits_and_that_is_said() -> None:
    names = ("qwen2-vl-7b-instruct", "mulberry-qwen2vl-7b", "r1-vl-7b")
    plan = resolve(study([{"model": name, "serve": "vllm"} for name in names]))
    assert plan.models[0].limits == {}
    said = "image-processor limits: nothing against max_pixels 1003520, min_pixels 200704"
    assert [said in warning for warning in plan.warnings if "differ in more" in warning] == [True]


def test_the_studys_own_limits_replace_the_registrys() -> None:
    own = ["--mm-processor-kwargs", '{"max_pixels":784}']
    assert served("mulberry-qwen2vl-7b", "vllm", flags=own) == own
    model = {"model": "mulberry-qwen2vl-7b", "serve": "vllm", "serving": {"flags": own}}
    identity = resolve(study([model])).models[0].identity()
    assert identity["flags"] == own and "limits" not in identity


def test_sglang_is_started_by_its_own_command() -> None:
    plan = resolve(study([{"model": "r1-onevision-7b", "serve": "sglang"}]))
    assert command(plan.models[0], 1)[:4] == ["sglang", "serve", "--model-path", "Fancy-MLLM/R1-Onevision-7B"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "a@http://127.0.0.1:1/v1", "serve": "vllm"}, "no protocol and no address"),
        (
            {"model": "a", "serve": "vllm", "serving": {"flags": ["--reasoning-parser=qwen3"]}},
            "without a reasoning parser",
        ),
        ({"model": "a", "serve": "llama.cpp"}, "Invalid enum value 'llama.cpp'"),
        ({"model": "a", "serve": "vllm", "serving": {"prot": 1}}, "prot"),
    ],
)
def test_what_cannot_be_served_is_refused_before_the_first_call(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        resolve(study([fields]))


def test_both_members_of_a_pair_leave_an_engine_that_dropped_one() -> None:
    names = ("llama-3.2-11b-vision-instruct", "mulberry-llama-11b", "r1-onevision-7b", "qwen2.5-vl-7b-instruct")
    plan = resolve(study([{"model": name, "serve": "vllm"} for name in names]))
    engines = {m.label: m.serve or (m.protocol and m.protocol.plugin.name) for m in plan.models}
    assert engines == dict.fromkeys(names[:2], "transformers_local") | dict.fromkeys(names[2:], "vllm")
    assert any("mulberry-llama-11b runs in this process" in warning for warning in plan.warnings)


def test_where_a_model_is_served_is_no_part_of_its_trials_ids() -> None:
    served, addressed = (
        resolve(study([fields])).models[0].identity()
        for fields in (
            {"model": "r1-onevision-7b", "serve": "vllm", "serving": {"port": 9}},
            {"model": "r1-onevision-7b"},
        )
    )
    assert served == addressed


def test_of_a_progress_bar_the_last_state_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\n 0%\r 50%\r 99%\nlast\n")
    assert tail(tmp_path / "log", 2) == " 99%\nlast"

"""The registry: every row is whole and known by its names, a switch has sides, a user's own file extends it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from safemlrm import prompting
from safemlrm.cli import run
from safemlrm.errors import StudyError, UnknownName
from safemlrm.models import ModelFacts, closed_families, facts_of, hosts, prices, prompts, registry, split_side
from safemlrm.resolve import resolve
from safemlrm.study import convert
from safemlrm.thinking import names
from safemlrm.trials import Plan

NINE = [
    "r1-onevision-7b",
    "mm-eureka-qwen-7b",
    "mulberry-qwen2vl-7b",
    "mulberry-llava-8b",
    "mulberry-llama-11b",
    "qwen2.5-vl-7b-instruct",
    "qwen2-vl-7b-instruct",
    "llama3-llava-next-8b",
    "llama-3.2-11b-vision-instruct",
]


def plan_of(*targets: str | dict[str, object], **fields: object) -> Plan:
    document = {"targets": list(targets), "data": [{"dataset": "specimen"}], "judges": ["specimen"]}
    return resolve(convert(document | fields, "test"))


def test_the_papers_nine_come_first() -> None:
    assert list(registry())[:9] == NINE
    assert [name for name, facts in registry().items() if facts.published] == NINE


@pytest.mark.parametrize("facts", registry().values(), ids=lambda facts: facts.name)
def test_a_row_is_verified_whole_and_consistent(facts: ModelFacts) -> None:
    assert facts.grade in ("V", "V2") and facts.source and facts.hub and facts.hub.count("/") == 1
    assert facts.name == facts.name.lower() and facts.format in names()
    assert (facts.base is None) == (facts.pair is None)
    for other in filter(None, (facts.base, facts.earlier)):
        assert other in registry() and other != facts.name
    for name in ("bare", "think", *(["native"] if facts.native else [])):
        prompting.words(name, facts)
    if facts.visibility == "none":
        assert (facts.format, facts.opens_in) == ("untagged", "none")
    if facts.serve.architecture == "Mllama":
        assert facts.serve.engine == "transformers_local"
    assert not any(flag.startswith("--reasoning-parser") for flag in facts.serve.flags)


def test_no_checkpoint_stands_in_two_rows() -> None:
    hubs = [facts.hub for facts in registry().values()]
    assert len(set(hubs)) == len(hubs) > 100


def test_every_kind_of_pair_is_there() -> None:
    kinds = {facts.pair for facts in registry().values()} - {None}
    assert kinds == {"tune", "stage", "sibling"}
    assert sum(facts.switch is not None for facts in registry().values()) > 15


def test_both_members_of_a_pair_run_on_one_engine() -> None:
    for facts in registry().values():
        if facts.base:
            assert facts.serve.engine == registry()[facts.base].serve.engine, facts.name


def test_a_model_is_known_by_registry_hub_and_published_name() -> None:
    found = {facts_of(n).name for n in ("r1-onevision-7b", "Fancy-MLLM/R1-Onevision-7B", "R1-Onevision-7B")}
    assert found == {"r1-onevision-7b"}


def test_an_unknown_model_says_so_and_is_told_from_its_replies() -> None:
    facts = facts_of("somebody/something")
    assert (facts.known, facts.format) == (False, "auto")
    with pytest.raises(UnknownName, match="Did you mean 'r1-onevision-7b'"):
        facts_of("r1-onevison-7b", must=True)


def test_an_unknown_model_runs_with_a_warning_that_names_what_is_assumed() -> None:
    [warning] = plan_of("openai_compatible:something@http://127.0.0.1:1/v1").warnings
    assert "something is not in the registry" in warning and "format is told from each reply (auto)" in warning


def test_a_budget_below_the_authors_is_a_warning() -> None:
    assert any("its authors allow 16,384" in w for w in plan_of("specimen:vision-r1-7b").warnings)
    assert not plan_of("specimen:mulberry-qwen2vl-7b").warnings


# --- prompts


#: The beginnings of SHA-256 over role and texts, each compared with its source before it was written here.
PUBLISHED = {
    "none": "e50f9b80", "mm_eureka": "6625afa9", "mulberry": "a7b0cfb8", "output_tags": "23c93eea",
    "vlm_r1_rec": "08a3c612", "openvlthinker": "38b930f7", "vlaa": "424370b5", "boxed": "550c4d91",
    "cosmos": "1f063e56", "virgo": "b0586bfd", "qvq": "8176c028", "ernie": "563a6944", "intern_s1": "0f89a679",
    "internvl_thinking": "329ef182", "llamav_o1": "b0503f43",
}  # fmt: skip


def test_the_native_prompts_are_the_published_ones_to_the_letter() -> None:
    found = {
        name: hashlib.sha256(f"{prompt.role}\n{prompt.text}\n{prompt.then}".encode()).hexdigest()[:8]
        for name, prompt in prompts().items()
    }
    assert found == PUBLISHED
    assert prompts()["mulberry"].text.endswith("### The final answer is: \n\n{question}"), "a blank behind the colon"
    assert prompts()["llamav_o1"].limits == (1024, 1024, 1024, 50)


def test_a_switch_that_is_the_native_prompt_names_it() -> None:
    facts = registry()["internvl3.5-8b"]
    assert facts.switch and facts.native and facts.switch.on == facts.native.text == prompts()["internvl_thinking"].text


# --- sides


def test_a_side_is_part_of_the_name_and_of_the_targets_identity() -> None:
    on, off = facts_of("qwen3.5-9b+thinking"), facts_of("Qwen/Qwen3.5-9B+no_thinking")
    assert (on.name, on.side, on.base, on.pair) == ("qwen3.5-9b+thinking", "thinking", off.name, "switch")
    assert (off.name, off.base, off.opens_in) == ("qwen3.5-9b+no_thinking", None, "output")
    address = "http://127.0.0.1:1/v1"
    plan = plan_of(f"qwen3.5-9b+thinking@{address}", f"qwen3.5-9b+no_thinking@{address}", f"qwen3.5-9b@{address}")
    first, second, plain = (arm for source in plan.sources for arm in plan.arms(source))
    assert len({first.id, second.id, plain.id}) == 3
    assert first.document["target"] == plain.document["target"] | {"thinking": "thinking"}
    assert first.document["decoding"]["extra"] == {"chat_template_kwargs": {"enable_thinking": True}}
    assert second.document["decoding"]["extra"] == {"chat_template_kwargs": {"enable_thinking": False}}
    assert not [w for w in plan.warnings if "differ in more" in w]


def test_a_side_reaches_the_endpoint_under_the_models_own_name() -> None:
    plan = plan_of("openai_compatible:Qwen/Qwen3.5-9B+thinking@http://127.0.0.1:1/v1")
    assert (plan.models[0].label, plan.models[0].facts.served) == ("qwen3.5-9b+thinking", "Qwen/Qwen3.5-9B")


def test_a_switch_of_the_request_is_a_field_of_the_request() -> None:
    plan = plan_of("openai_compatible:qwen3-vl-plus+thinking@http://127.0.0.1:1/v1")
    assert plan.models[0].decoding.extra == {"enable_thinking": True}


def test_a_studys_own_template_settings_stand_beside_the_switch() -> None:
    own = {"extra": {"chat_template_kwargs": {"other": 1}, "top_a": 0.5}}
    [model] = plan_of({"model": "specimen:qwen3.5-9b+no_thinking", "decoding": own}).models
    assert model.decoding.extra == {"chat_template_kwargs": {"other": 1, "enable_thinking": False}, "top_a": 0.5}


@pytest.mark.parametrize("name", ["r1-onevision-7b+thinking", "never-heard-of+no_thinking"])
def test_a_side_of_a_model_without_a_switch_is_refused(name: str) -> None:
    with pytest.raises(StudyError, match="has no thinking switch"):
        facts_of(name)


def test_other_plus_signs_belong_to_the_name() -> None:
    assert split_side("llava+thinkingly") == ("llava+thinkingly", None)


# --- decoding


def test_the_authors_decoding_is_taken_where_a_study_asks_for_it() -> None:
    [model] = plan_of({"model": "specimen:vision-r1-7b", "decoding": "authors"}).models
    assert (model.decoding.temperature, model.decoding.top_p, model.decoding.max_tokens) == (0.6, 0.95, 16384)
    [plain] = plan_of("specimen:vision-r1-7b").models
    assert plain.decoding.temperature is None


def test_the_authors_decoding_is_refused_where_nobody_knows_it() -> None:
    with pytest.raises(StudyError, match=r"'r1-onevision-7b'.*holds none"):
        plan_of({"model": "specimen:r1-onevision-7b", "decoding": "authors"})


# --- closed families


@pytest.mark.parametrize(
    ("name", "visibility"),
    [
        ("gpt-5.2", "summary"),
        ("openai/o3-mini", "summary"),
        ("anthropic/claude-3.7-sonnet", "full"),
        ("claude-sonnet-4-5-20250929", "summary"),
        ("google/gemini-2.5-pro", "summary"),
        ("grok-4", "hidden"),
        ("qwen3-vl-plus", "full"),
    ],
)
def test_a_closed_models_reasoning_is_as_visible_as_its_vendor_shows_it(name: str, visibility: str) -> None:
    facts = facts_of(name)
    assert (facts.known, facts.visibility, facts.format) == (True, visibility, "server_split")
    assert facts.grade == "V2" and facts.source


def test_every_closed_family_is_graded_and_no_open_model_is_taken_for_one() -> None:
    assert all(family.grade in ("V", "V2") and family.source for family in closed_families().values())
    for facts in registry().values():
        assert facts_of(facts.hub or "").name == facts.name


# --- a user's own file


OWN = """
[hosts."models.example.org"]
key = "EXAMPLE_KEY"

[prompts.careful]
role = "user"
text = "{question} Think with care."

[closed.ours]
matches = ["inhouse-*"]
provider = "us"
visibility = "hidden"
field = "none"

[models.r1-onevision-7b]
revision = "0123456789abcdef"

[models.my-tune]
like = "r1-onevision-7b"
hub = "me/my-tune"
native = "careful"
base = ""
"""


def test_a_users_own_file_extends_and_overrides(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(OWN, encoding="utf-8")
    mine, theirs = facts_of("my-tune", tmp_path), facts_of("r1-onevision-7b", tmp_path)
    assert (theirs.revision, theirs.hub) == ("0123456789abcdef", "Fancy-MLLM/R1-Onevision-7B")
    assert (mine.hub, mine.revision, mine.published, mine.base, mine.pair) == (
        "me/my-tune",
        "floating",
        None,
        None,
        None,
    )
    assert (mine.format, mine.native and mine.native.name) == ("think_tags", "careful")
    assert hosts(tmp_path)["models.example.org"].key == "EXAMPLE_KEY"
    assert facts_of("inhouse-7", tmp_path).visibility == "hidden"
    assert registry()["r1-onevision-7b"].revision == "floating"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model.x]\nhub = 'a/b'", "unknown table 'model'.*Did you mean 'models'"),
        ("[models.x]\nhubb = 'a/b'", "unknown key 'hubb' in model 'x'.*Did you mean 'hub'"),
        ("[models.x]\nvisibility = 'some'", "model 'x' of .*models.toml: Invalid enum value 'some'"),
        ("[models.x]\nlike = 'r1-onevison-7b'", "like of model 'x'"),
        ("[models.x]\nlike = 'y'\n[models.y]\nlike = 'x'", "like of model"),
        ("[models.x]\nnative = 'mulbery'", "unknown prompt 'mulbery'.*Did you mean 'mulberry'"),
        ("[models.x]\nswitch = {mechanism = 'template', on = 'a', off = 'b'}", "of a template switch are tables"),
        ("[models.x]\nswitch = {mechanism = 'prefill', on = {}, off = {}}", "of a prefill switch are texts"),
        ("[models.x]\nswitch = {mechanism = 'system', on = 'internvl', off = ''}", "unknown prompt 'internvl'"),
        ("[prompts.p]\nrole = 'user'\ntext = '{question}'\nformat = 'thnk_tags'\n[models.x]\nnative = 'p'", "thnk"),
        ("[models.x]\nown = {}", "a format stands in"),
        ("[models.x]\nkey = 'MY_KEY'", "a key belongs to its host"),
        ("[models", "models.toml"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_users_own_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        registry(tmp_path)


# --- on the command line


def test_the_lists_show_grades_and_fit_in_140_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("targets", "pairs", "closed", "formats", "promptings"):
        assert run(["list", kind]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 140
        assert kind in ("formats", "promptings") or any("V2" in line for line in lines)


def test_the_lists_as_json_hold_every_fact(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "targets", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["llamav-o1-11b"]["native"]["limits"] == [1024, 1024, 1024, 50]
    assert rows["llama-3.2-11b-vision-instruct"]["gate"].startswith("https://")
    assert run(["list", "pairs", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)
    assert {pair["kind"] for pair in pairs} == {"tune", "stage", "sibling", "switch"}
    assert all(pair["grade"] in ("V", "V2") for pair in pairs)


def test_a_name_shows_all_that_is_known_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "targets", "omkarthawakar/LlamaV-o1"]) == 0
    out = capsys.readouterr().out
    for said in (
        "native.then",
        "State the final answer",
        "1024, 1024, 1024, 50",
        "removed from vLLM",
        "instruction-tuned",
    ):
        assert said in out
    assert run(["list", "pairs", "qwen2-vl-7b-instruct"]) == 0
    out = capsys.readouterr().out
    assert "mulberry-qwen2vl-7b" in out and "r1-vl-7b" in out and "r1-onevision" not in out
    assert run(["list", "targets", "r1-onevison-7b"]) == 1
    assert "Did you mean 'r1-onevision-7b'" in capsys.readouterr().err


def test_what_nobody_verified_is_marked_in_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("targets", "pairs"):
        assert run(["list", kind]) == 0
        [line] = [line for line in capsys.readouterr().out.splitlines() if "thinklite-vl-7b" in line]
        assert "V *" in line
    assert run(["list", "pairs", "thinklite-vl-7b", "--json"]) == 0
    [pair] = json.loads(capsys.readouterr().out)
    assert (pair["grade"], pair["unverified"]) == ("V", "exact id of the base")


@pytest.mark.parametrize(("width", "gone"), [(80, ["parameters", "pair", "base"]), (120, ["visibility"]), (200, [])])
def test_a_narrow_terminal_gets_fewer_columns_and_no_broken_name(
    width: int, gone: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safemlrm.cli.tables.WIDTH", width)
    assert run(["list", "targets"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in registry())
    left = [line for line in out.splitlines() if line.startswith(f"Left out in a terminal of {width} columns")]
    assert all(name in left[0] for name in gone) if gone else not left


def test_split_says_which_format_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models.toml").write_text('[formats.own]\nthinking = [["((", "))"]]\n', encoding="utf-8")
    reply = tmp_path / "reply.txt"
    for text, arguments, said in (
        ("◁think▷R◁/think▷A", (), "format: kimi_think (told from the text)"),
        ("◁think▷R◁/think▷A", ("--target", "kimi-vl-a3b-thinking"), "format: kimi_think (of kimi-vl-a3b-thinking)"),
        ("((R))A", ("--beside", str(tmp_path)), "format: own (told from the text)"),
        ("<think>R</think>A", (), "format: think_tags (told from the text): F1, Think tags"),
        ("((R))A", ("--format", "own", "--beside", str(tmp_path)), "format: own (as asked for)"),
    ):
        reply.write_text(text, encoding="utf-8")
        assert run(["split", str(reply), *arguments]) == 0
        out = capsys.readouterr().out
        assert said in out and "status: ok" in out
    assert run(["split", str(reply), "--format", "kimi_thik"]) == 1
    assert "Did you mean 'kimi_think'" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["add-a-model.md", "formats.md"])
def test_the_rows_that_a_page_shows_are_read(page: str, tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "models.toml").write_text(block, encoding="utf-8")
        if block.startswith("[prices]"):
            assert prices(folder)["my-reasoner-7b"].input == 0.2
        else:
            assert facts_of("my-reasoner-7b", folder, must=True).known

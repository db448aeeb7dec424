"""Weights in this process: real transformers classes with tiny random weights, saved to disk and loaded by path."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image as Pillow

from safemlrm import generating
from safemlrm.engine.bench import Options
from safemlrm.engine.run import Run
from safemlrm.errors import StudyError, TargetError
from safemlrm.models import ModelFacts
from safemlrm.plugin import Call, Weights
from safemlrm.records import Decoding, Image, Prompt, Response, Turn, user
from safemlrm.registry import bind
from safemlrm.resolve import resolve
from safemlrm.store import frames, open_store
from safemlrm.study import convert
from safemlrm.targets.transformers_local import transformers_local
from safemlrm.weights import content_hash
from support import part

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

WORDS = ("[before]", "[q]", "one", "two", "three", "four", "five", "six", "seven", "eight", "words", "and", "more")
SPECIAL = {
    "qwen": ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    "llava": ("<image>",),
    "idefics": ("<image>", "<fake_token_around_image>", "<global-img>", "<row_1_col_1>", "<end_of_utterance>"),
    "mllama": ("<|image|>",),
}
IMAGE = {
    "qwen": "<|vision_start|><|image_pad|><|vision_end|>",
    "llava": "<image>",
    "idefics": "<image>",
    "mllama": "<|image|>",
}
GREEDY = Decoding(max_tokens=12, temperature=0.0)


@pytest.fixture(scope="module", autouse=True)
def _torch() -> Iterator[None]:
    part(find_spec("torch") and find_spec("transformers") and find_spec("torchvision"), "the extra `local` (torch)")
    import torch

    torch.set_num_threads(1)
    yield


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def _tokenizer(kind: str) -> Any:
    """Return a tokenizer of whole words, saved as the real ones are."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<pad>", "<end>", "<bos>", *SPECIAL[kind], "system", "user", "assistant", *WORDS]
    names += [f"w{number}" for number in range(128 - len(names))]
    raw = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    roles = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "<end>", "bos_token": "<bos>"}
    extra: dict[str, Any] = {"extra_special_tokens": {}}
    if kind == "qwen":
        extra["extra_special_tokens"] = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **roles, **extra)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[kind])})
    return tokenizer


def _template(kind: str) -> str:
    """Return a chat template: `role text image ... <end>`, then `assistant`."""
    return (
        "{% for m in messages %}{{ m['role'] }} {% for p in m['content'] %}"
        "{% if p['type'] == 'image' %}" + IMAGE[kind] + "{% else %}{{ p['text'] }}{% endif %} {% endfor %}<bos> "
        "{% endfor %}{% if add_generation_prompt %}assistant {% endif %}"
    )


def _text(vocabulary: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "vocab_size": vocabulary, "max_position_embeddings": 2048}
    return sizes | {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 3} | more


def _qwen(folder: Path, version: str) -> None:
    import transformers as t

    tokenizer = _tokenizer("qwen")
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL["qwen"]}
    tokens = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
    text = _text(
        len(tokenizer), rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    )
    vision: dict[str, Any] = {
        "depth": 2,
        "num_heads": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    if version == "2":
        vision |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
        model: Any = t.Qwen2VLForConditionalGeneration(
            t.Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)
        )
        made: Any = t.Qwen2VLProcessor
    else:
        vision |= {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64, "fullatt_block_indexes": [1]}
        model = t.Qwen2_5_VLForConditionalGeneration(
            t.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
        )
        made = t.Qwen2_5_VLProcessor
    processor = made(
        t.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=4 * 28 * 28),
        tokenizer,
        t.Qwen2VLVideoProcessor(),
        chat_template=_template("qwen"),
    )
    _save(folder, model, processor)


def _llava_next(folder: Path) -> None:
    import transformers as t

    tokenizer = _tokenizer("llava")
    vision = t.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    config = t.LlavaNextConfig(
        vision_config=vision,
        text_config=t.LlamaConfig(**_text(len(tokenizer))),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=[[28, 56], [56, 28]],
    )
    images = t.LlavaNextImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=[[28, 56], [56, 28]]
    )
    processor = t.LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_template("llava"),
    )
    _save(folder, t.LlavaNextForConditionalGeneration(config), processor)


def _idefics3(folder: Path) -> None:
    import transformers as t

    tokenizer = _tokenizer("idefics")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = t.Idefics3Config(
        vision_config=vision | {"image_size": 28, "patch_size": 14},
        text_config=t.LlamaConfig(**_text(len(tokenizer))),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    images = t.Idefics3ImageProcessor(
        size={"longest_edge": 28}, max_image_size={"longest_edge": 28}, do_image_splitting=False
    )
    processor = t.Idefics3Processor(images, tokenizer, image_seq_len=1, chat_template=_template("idefics"))
    _save(folder, t.Idefics3ForConditionalGeneration(config), processor)


def _smolvlm(folder: Path) -> None:
    import transformers as t

    tokenizer = _tokenizer("idefics")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = t.SmolVLMConfig(
        vision_config=vision | {"image_size": 28, "patch_size": 14},
        text_config=t.LlamaConfig(**_text(len(tokenizer))),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    images = t.SmolVLMImageProcessor(
        size={"longest_edge": 28}, max_image_size={"longest_edge": 28}, do_image_splitting=False
    )
    processor = t.SmolVLMProcessor(
        images, tokenizer, t.SmolVLMVideoProcessor(), image_seq_len=1, chat_template=_template("idefics")
    )
    _save(folder, t.SmolVLMForConditionalGeneration(config), processor)


def _mllama(folder: Path) -> None:
    import transformers as t

    tokenizer = _tokenizer("mllama")
    text = _text(len(tokenizer), cross_attention_layers=[1])
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    vision: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
    }
    vision |= {"attention_heads": 2, "image_size": 28, "patch_size": 14, "max_num_tiles": 1, "vision_output_dim": 64}
    vision |= {"intermediate_layers_indices": [0], "supported_aspect_ratios": [[1, 1]]}
    config = t.MllamaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids("<|image|>")
    )
    images = t.MllamaImageProcessor(size={"height": 28, "width": 28}, max_image_tiles=1)
    _save(
        folder,
        t.MllamaForConditionalGeneration(config),
        t.MllamaProcessor(images, tokenizer, chat_template=_template("mllama")),
    )


def _save(folder: Path, model: Any, processor: Any) -> None:
    import torch

    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


CLASSES: dict[str, Callable[[Path], None]] = {
    "qwen2-vl": lambda folder: _qwen(folder, "2"),
    "qwen2.5-vl": lambda folder: _qwen(folder, "2.5"),
    "llava-next": _llava_next,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "mllama": _mllama,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes a class's tiny weights once and gives their folder."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            where = tmp_path_factory.mktemp(kind.replace(".", "_"))
            CLASSES[kind](where)
            made[kind] = where
        return made[kind]

    return folder


def picture(shade: int, width: int = 40) -> Image:
    data = io.BytesIO()
    Pillow.new("RGB", (width, 30), (shade, 255 - shade, 90)).save(data, "PNG")
    return Image(data=data.getvalue())


def prompts() -> list[Prompt]:
    """Return eight prompts of different lengths, each with a picture."""
    return [user(picture(25 * n), " ".join(WORDS[: 2 + n])) for n in range(8)]


def ask(folder: Path, asked: list[Prompt], decoding: Decoding = GREEDY, **params: Any) -> list[Response]:
    async def go() -> list[Response]:
        params.setdefault("dtype", "float32")
        async with transformers_local(ModelFacts(name=str(folder)), None, device="cpu", **params) as reach:
            return list(await asyncio.gather(*(reach(prompt, decoding, Call()) for prompt in asked)))

    return asyncio.run(go())


@pytest.mark.parametrize("kind", CLASSES)
def test_in_float32_a_batch_of_eight_writes_what_eight_single_calls_write(
    saved: Callable[[str], Path], kind: str
) -> None:
    together = ask(saved(kind), prompts(), batch_size=8)
    alone = ask(saved(kind), prompts(), batch_size=1)
    assert [reply.text for reply in together] == [reply.text for reply in alone]
    assert [reply.tokens_in for reply in together] == [reply.tokens_in for reply in alone]
    assert len({reply.text for reply in alone}) > 1
    assert all(reply.tokens_out == 12 or reply.stop == "stop" for reply in alone)


def test_a_reply_says_who_wrote_it_and_how(saved: Callable[[str], Path]) -> None:
    reply = ask(saved("qwen2.5-vl"), prompts()[:1], batch_size=3)[0]
    assert reply.model is not None
    assert reply.model.startswith(str(saved("qwen2.5-vl")))
    assert all(word in reply.model for word in ("float32", "cpu", "transformers 5", "batch 1 of 3"))
    assert "longest_edge 3136, shortest_edge 784" in reply.model
    assert {reply.model.rpartition(", ")[2] for reply in ask(saved("qwen2.5-vl"), prompts()) if reply.model} == {
        "batch 8 of 8"
    }


def test_calls_with_and_without_pictures_in_turn_fill_batches_of_each(saved: Callable[[str], Path]) -> None:
    mixed = [prompt for pictured in prompts()[:4] for prompt in (pictured, user("[q] one"))]
    replies = ask(saved("qwen2-vl"), mixed, batch_size=4)
    assert {(reply.model or "").rpartition(", ")[2] for reply in replies} == {"batch 4 of 4"}
    assert [r.text for r in replies] == [r.text for r in ask(saved("qwen2-vl"), mixed, batch_size=1)]


def test_text_alone_and_several_turns_are_asked_too(saved: Callable[[str], Path]) -> None:
    turns = (Turn("system", ("one",)), Turn("user", ("two",)), Turn("assistant", ("three",)), Turn("user", ("four",)))
    replies = ask(saved("qwen2-vl"), [Prompt(turns), user("[q]"), *prompts()[:2]])
    assert [reply.tokens_in for reply in replies[:2]] == [13, 6]


def test_a_prefill_opens_the_reply_and_is_not_given_back(saved: Callable[[str], Path]) -> None:
    plain, opened = ask(saved("qwen2-vl"), [user("[q]"), Prompt(user("[q]").turns, prefill="five six")])
    assert (opened.tokens_in or 0) - (plain.tokens_in or 0) == 2
    assert not opened.text.startswith("five")


def test_a_reply_that_reaches_the_token_limit_is_marked(saved: Callable[[str], Path]) -> None:
    reply = ask(saved("qwen2-vl"), [user("[q]")], Decoding(max_tokens=2, temperature=0.0))[0]
    assert (reply.stop, reply.stop_detail, reply.tokens_out) == ("length", "length", 2)


def test_a_seed_draws_the_same_reply_again(saved: Callable[[str], Path]) -> None:
    sampled = Decoding(max_tokens=12, temperature=1.0, seed=5)
    first, again = (ask(saved("qwen2-vl"), [user("[q]")], sampled)[0].text for _ in range(2))
    other = ask(saved("qwen2-vl"), [user("[q]")], Decoding(max_tokens=12, temperature=1.0, seed=6))[0].text
    assert first == again != other


def test_limits_of_the_image_processor_are_kept_and_unknown_ones_refused(saved: Callable[[str], Path]) -> None:
    large = ask(saved("qwen2-vl"), [user(picture(1, 90), "[q]")], max_pixels=28 * 28 * 4)[0]
    small = ask(saved("qwen2-vl"), [user(picture(1, 90), "[q]")], max_pixels=28 * 28)[0]
    assert (small.tokens_in or 0) < (large.tokens_in or 0)
    with pytest.raises(StudyError, match="has no limit max_pixels"):
        ask(saved("llava-next"), [user("[q]")], max_pixels=784)


def test_the_registrys_limits_hold_where_the_study_gives_none(saved: Callable[[str], Path], tmp_path: Path) -> None:
    where = saved("qwen2-vl")
    (tmp_path / "models.toml").write_text(
        f'[models.tune]\nhub = "{where}"\nbase = "base"\n'
        "serve = {processor = {min_pixels = 784, max_pixels = 784}}\n"
        f'[models.base]\nhub = "{where}"\n'
    )

    def planned(**options: Any) -> Any:
        targets = [{"model": f"transformers_local:{name}", "options": options} for name in ("tune", "base")]
        return resolve(convert({"targets": targets, "data": [{"dataset": "specimen"}]}, "t"), beside=tmp_path)

    plan = planned()
    assert [model.limits for model in plan.models] == [{"min_pixels": 784, "max_pixels": 784}] * 2
    assert not any("differ in more" in warning for warning in plan.warnings)
    assert planned(max_pixels=1568).models[0].limits == {"min_pixels": 784}

    async def tokens(model: Any) -> int | None:
        facts = msgspec.structs.replace(model.facts, served=None)
        async with transformers_local(facts, None, dtype="float32", device="cpu") as reach:
            return (await reach(user(picture(1, 90), "[q]"), GREEDY, Call())).tokens_in

    own = ask(where, [user(picture(1, 90), "[q]")])[0].tokens_in or 0
    for model in plan.models:
        assert (asyncio.run(tokens(model)) or 0) < own


def test_settings_that_nothing_reads_are_failures(saved: Callable[[str], Path]) -> None:
    with pytest.raises(TargetError, match="no setting guided_json, presence_penalty"):
        ask(saved("qwen2-vl"), [user("[q]")], Decoding(presence_penalty=1.0, extra={"guided_json": {}}))


def test_a_switch_of_the_chat_template_reaches_it(saved: Callable[[str], Path], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "switched"
    shutil.copytree(saved("qwen2-vl"), folder)
    closed = "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}no more {% endif %}"
    (folder / "chat_template.jinja").write_text(_template("qwen") + closed)
    off, on = ({"chat_template_kwargs": {"enable_thinking": side}} for side in (False, True))
    asked = [
        ask(folder, [user("[q]")], msgspec.structs.replace(GREEDY, extra=extra))[0].tokens_in or 0
        for extra in ({}, on, off)
    ]
    assert [count - asked[0] for count in asked] == [0, 0, 2]


def test_a_side_of_a_switchable_model_reaches_the_chat_template() -> None:
    document = {
        "targets": [{"model": "transformers_local:qwen3.5-9b+no_thinking"}],
        "data": [{"dataset": "specimen"}],
        "judges": ["specimen"],
    }
    decoding = resolve(convert(document, "test")).models[0].decoding
    assert decoding.extra["chat_template_kwargs"] == {"enable_thinking": False}
    generating.check(decoding)


def test_one_prompt_that_cannot_be_asked_spoils_no_other(saved: Callable[[str], Path]) -> None:
    async def go() -> list[Any]:
        model = ModelFacts(name=str(saved("qwen2-vl")))
        async with transformers_local(model, None, dtype="float32", device="cpu") as reach:
            torn = user("[q] <|vision_start|><|image_pad|><|vision_end|>", picture(3))
            asked = [reach(prompt, GREEDY, Call()) for prompt in (*prompts()[:2], torn)]
            return list(await asyncio.gather(*asked, return_exceptions=True))

    first, second, third = asyncio.run(go())
    assert isinstance(first, Response) and isinstance(second, Response)
    assert isinstance(third, TargetError)


def test_what_does_not_fit_into_memory_is_a_failure_and_what_fits_alone_a_reply(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, in_folder: Path
) -> None:
    import torch
    from transformers import Qwen2VLForConditionalGeneration as Real

    generate = Real.generate

    def narrow(self: Any, **inputs: Any) -> Any:
        if len(inputs["input_ids"]) > 1 or inputs["input_ids"].shape[1] > 40:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return generate(self, **inputs)

    monkeypatch.setattr(Real, "generate", narrow)
    document: dict[str, Any] = {
        "targets": [{"model": f"transformers_local:{saved('qwen2-vl')}", "options": {"dtype": "float32"}}],
        "data": [{"dataset": 'specimen(like="figstep_safebench")', "attacks": ["none", "figstep"]}],
        "judges": ["specimen"],
        "decoding": {"max_tokens": 2, "temperature": 0.0},
        "limit": 2,
    }
    with open_store("s.db", create=True) as store:
        run = Run(resolve(convert(document, "t")), store, Options(judging=False))
        assert asyncio.run(run.go()) == "done"
        found = frames.trials(store, [run.id]).select("condition", "state", "failure").unique().sort("condition").rows()
    assert found == [("figstep", "failed", "target:out_of_memory"), ("text", "answered", None)]


def test_a_mistake_in_a_models_own_code_fails_its_call_and_not_the_run(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Qwen2VLForConditionalGeneration as Real

    monkeypatch.setattr(Real, "generate", lambda self, **inputs: self.no_such_thing)
    with pytest.raises(TargetError, match=r"AttributeError: .*no_such_thing") as caught:
        ask(saved("qwen2-vl"), [user("[q]")])
    assert caught.value.kind == "request"


@pytest.mark.parametrize("mistake", [ValueError, AttributeError])
def test_words_of_a_models_own_code_hold_no_key(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, mistake: type[Exception]
) -> None:
    from transformers import Qwen2VLForConditionalGeneration as Real

    def telling(self: Any, **inputs: Any) -> Any:
        raise mistake("refused with sesame-1")

    monkeypatch.setenv("SOME_API_KEY", "sesame-1")
    monkeypatch.setattr(Real, "generate", telling)
    with pytest.raises(TargetError, match=rf"^{mistake.__name__}: refused with \(key\)$"):
        ask(saved("qwen2-vl"), [user("[q]")])


def test_a_chat_template_that_drops_a_turn_is_a_failure_and_not_another_prompt(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "deaf"
    shutil.copytree(saved("qwen2-vl"), folder)
    deaf = _template("qwen").replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
    (folder / "chat_template.jinja").write_text(deaf)
    assert ask(folder, [user("[q]")])[0].text
    with pytest.raises(TargetError, match="does not write the system turn as it was given"):
        ask(folder, [Prompt((Turn("system", ("one",)), Turn("user", ("two",))))])


def test_padding_behind_a_stop_string_is_not_counted(saved: Callable[[str], Path]) -> None:
    async def go() -> generating.Written:
        async with transformers_local(ModelFacts(name=str(saved("qwen2-vl"))), None, dtype="float32") as reach:
            weights = reach.weights  # type: ignore[attr-defined]
            ids = weights.processor.tokenizer.convert_tokens_to_ids(["one", "two", "three", "<pad>", "<pad>"])
            return generating._written(ids, 7, 4, weights, Decoding(stop=("three",)))

    assert asyncio.run(go()) == generating.Written("one two ", "stop string", 7, 3, 4)


def test_a_folder_without_weights_is_said_before_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be opened"):
        ask(tmp_path / "nothing", [user("[q]")])


def test_a_missing_part_of_the_extra_and_a_licence_are_said_when_weights_do_not_open(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    def lacking(*args: Any, **kwargs: Any) -> Any:
        raise ImportError("this processor requires the Torchvision library")

    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", lacking)

    async def go() -> None:
        model = ModelFacts(name=str(saved("qwen2-vl")), gate="https://example.org/accept")
        async with transformers_local(model, None):
            pass

    with pytest.raises(StudyError, match=r"Torchvision library `pip install 'safemlrm\[local\]'` brings it") as caught:
        asyncio.run(go())
    assert str(caught.value).endswith("Its licence is accepted at https://example.org/accept")


def test_weights_are_known_by_their_content(saved: Callable[[str], Path], tmp_path: Path) -> None:
    import shutil

    original = saved("qwen2-vl")
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    assert content_hash(copy) == content_hash(original)
    (copy / "trainer_state.json").write_text("{}")
    assert content_hash(copy) == content_hash(original)
    (copy / "generation_config.json").write_text('{"temperature": 0.5}')
    assert content_hash(copy) != content_hash(original)


def test_settings_that_change_a_reply_belong_to_the_trials_id(saved: Callable[[str], Path]) -> None:
    def identity(**options: Any) -> dict[str, Any]:
        target = {"model": f"transformers_local:{saved('qwen2-vl')}", "options": options}
        document = {"targets": [target], "data": [{"dataset": "specimen"}], "judges": ["specimen"]}
        return resolve(convert(document, "test")).models[0].identity()

    assert identity()["weights"] == content_hash(saved("qwen2-vl"))
    assert identity(device="cpu") == identity()
    for changed in ({"dtype": "float16"}, {"batch_size": 2}, {"max_pixels": 784}):
        assert identity(**changed) != identity()


def test_a_study_lends_the_opened_model_to_plugins_that_need_it(saved: Callable[[str], Path], in_folder: Path) -> None:
    (in_folder / "attacks").mkdir()
    (in_folder / "attacks" / "looks_inside.py").write_text(
        '"""Reads the opened model."""\n'
        "from safemlrm.plugin import Weights, attack\nfrom safemlrm.records import Prompt, Sample, user\n"
        '@attack(version="1", title="Looks inside", short="inside", needs="weights")\n'
        "def looks_inside(sample: Sample, *, layer: int = 0, weights: Weights) -> Prompt:\n"
        '    """Return the name of the class."""\n'
        "    return user(type(weights.model).__name__ + ' ' + type(weights.processor).__name__)\n"
    )
    bound = bind("attack", "looks_inside", in_folder)
    assert bound.params == {"layer": 0}
    document: dict[str, Any] = {
        "targets": [{"model": f"transformers_local:{saved('qwen2-vl')}", "options": {"dtype": "float32"}}],
        "data": [{"dataset": 'specimen(scenarios=["06-Fraud"])', "attacks": ["looks_inside"]}],
        "judges": ["specimen"],
        "decoding": {"max_tokens": 2, "temperature": 0.0},
        "limit": 3,
    }
    with open_store("s.db", create=True) as store:
        run = Run(resolve(convert(document, "t"), beside=in_folder), store, Options(judging=False, beside=in_folder))
        assert asyncio.run(run.go()) == "done"
        assert frames.trials(store, [run.id])["state"].to_list() == ["answered"] * 3
        with store.engine.connect() as connection:
            from sqlalchemy import text

            body = connection.execute(text("select body from prompts")).scalar_one()
    assert "Qwen2VLForConditionalGeneration Qwen2VLProcessor" in body
    document["targets"] = ["specimen:r1-onevision-7b"]
    with pytest.raises(
        StudyError, match="needs the model's weights, and r1-onevision-7b is not opened in this process"
    ):
        resolve(convert(document, "t"), beside=in_folder)


def test_weights_are_a_model_and_its_processor(saved: Callable[[str], Path]) -> None:
    async def go() -> tuple[Weights, Weights]:
        model = ModelFacts(name=str(saved("qwen2-vl")))
        async with transformers_local(model, None, dtype="float32", device="cpu") as reach:
            inside = reach.weights  # type: ignore[attr-defined]
        return inside, reach.weights  # type: ignore[attr-defined]

    inside, after = asyncio.run(go())
    assert not inside.model.training and inside.processor.tokenizer.padding_side == "left"
    assert after.model is None

"""Prompts to token ids and back, for models that transformers opened: templates, pictures, settings, ends."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import msgspec

from safemlrm import keys
from safemlrm.errors import TargetError
from safemlrm.plugin import Weights
from safemlrm.records import Decoding, Prompt, Turn

#: Of a decoding's further fields, those that `generate` or the chat template take.
_EXTRA = {"chat_template_kwargs", "num_beams", "min_new_tokens"}


class Written(NamedTuple):
    """What was generated for one prompt, without end and padding. `stop` is `eos`, `stop string` or `length`."""

    text: str
    stop: str
    tokens_in: int
    tokens_out: int
    #: how many prompts were generated in one batch
    together: int


def check(decoding: Decoding) -> None:
    """Raise `TargetError` for settings that transformers does not have: an unused setting is an error, not a shrug."""
    unknown = set(decoding.extra) - _EXTRA
    if decoding.presence_penalty:
        unknown.add("presence_penalty")
    if unknown:
        raise TargetError("request", f"transformers_local has no setting {', '.join(sorted(unknown))}")


def greedy(decoding: Decoding) -> bool:
    """Tell whether nothing is drawn at random."""
    return decoding.temperature == 0 or decoding.top_k == 1


def together(one: Prompt, its: Decoding, other: Prompt, others: Decoding) -> bool:
    """Tell whether two calls can be generated in one batch: same settings and seed, both with pictures or neither."""
    if greedy(its):
        its, others = (msgspec.structs.replace(decoding, seed=None) for decoding in (its, others))
    return its == others and bool(one.images()) == bool(other.images())


def generate(weights: Weights, prompts: list[Prompt], decoding: Decoding) -> list[Written]:
    """Generate replies to prompts in one batch, padded on the left. Raises `TargetError`."""
    import torch
    from jinja2 import TemplateError

    model, processor = weights
    try:
        inputs = _inputs(processor, prompts, decoding).to(model.device)
        for name, value in inputs.items():
            if torch.is_floating_point(value):
                inputs[name] = value.to(model.dtype)
        if decoding.seed is not None:
            torch.manual_seed(decoding.seed)
        with torch.inference_mode():
            written = model.generate(**inputs, **_settings(decoding, processor))
    except (ValueError, LookupError, TypeError, OSError, TemplateError, RuntimeError, MemoryError) as error:
        failed = _failed(error)
    else:
        width = inputs["input_ids"].shape[1]
        return [
            _written(row[width:].tolist(), int(mask.sum()), len(prompts), weights, decoding)
            for row, mask in zip(written, inputs["attention_mask"], strict=True)
        ]
    # outside of the clause: there the error would hold on to every tensor of the call that failed
    raise failed


def _failed(error: BaseException) -> TargetError:
    import torch

    full = isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
    return TargetError("out_of_memory" if full else "request", keys.named(error))


def _settings(decoding: Decoding, processor: Any) -> dict[str, Any]:
    """Return the settings as `generate` calls them; what is not set stays as the weights' own authors left it."""
    settings: dict[str, Any] = {"max_new_tokens": decoding.max_tokens}
    given = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
    given = {name: value for name, value in given.items() if value is not None}
    if greedy(decoding):
        settings |= {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    elif given:
        settings |= {"do_sample": True} | given
    if decoding.repetition_penalty is not None:
        settings["repetition_penalty"] = decoding.repetition_penalty
    if decoding.stop:
        settings |= {"stop_strings": list(decoding.stop), "tokenizer": processor.tokenizer}
    settings |= {name: value for name, value in decoding.extra.items() if name != "chat_template_kwargs"}
    return settings | {"pad_token_id": processor.tokenizer.pad_token_id}


def _inputs(processor: Any, prompts: list[Prompt], decoding: Decoding) -> Any:
    from PIL import Image as Pillow

    kwargs = decoding.extra.get("chat_template_kwargs", {})
    texts = [rendered(processor, prompt, kwargs) for prompt in prompts]
    pictures = [[Pillow.open(io.BytesIO(i.read())).convert("RGB") for i in prompt.images()] for prompt in prompts]
    images = pictures if pictures[0] else None
    return processor(text=texts, images=images, padding=True, return_tensors="pt", add_special_tokens=False)


def rendered(processor: Any, prompt: Prompt, kwargs: dict[str, Any]) -> str:
    """Return the prompt as the model's own chat template writes it, open for its reply or begun by the prefill.

    Raises `TargetError` for a template that leaves out or rewrites what was to be said; of the model's own earlier
    turns, templates of reasoning models leave the thinking out, as their authors mean it.
    """
    written: str = processor.apply_chat_template(
        [_message(turn) for turn in prompt.turns], tokenize=False, add_generation_prompt=True, **kwargs
    )
    for turn in prompt.turns:
        if turn.role != "assistant" and any(isinstance(p, str) and p.strip() not in written for p in turn.content):
            raise TargetError("request", f"the chat template does not write the {turn.role} turn as it was given")
    return written + (prompt.prefill or "")


def _message(turn: Turn) -> dict[str, Any]:
    pieces = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in turn.content]
    return {"role": turn.role, "content": pieces}


def _written(ids: list[int], tokens_in: int, together: int, weights: Weights, decoding: Decoding) -> Written:
    """Cut generated ids at the first one that ends a reply; special tokens before it are the model's text."""
    model, tokenizer = weights.model, weights.processor.tokenizer
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    place = next((place for place, token in enumerate(ids) if token in ends), None)
    text: str = tokenizer.decode(ids[:place], skip_special_tokens=False)
    if place is not None:
        return Written(text, "eos", tokens_in, place, together)
    stopped = next((stop for stop in decoding.stop if stop in text), None)
    if stopped is not None:
        # servers do not give the stop string back, so that the same reply reads the same on every engine; what
        # follows it is padding, while others of the batch went on
        while ids and ids[-1] == tokenizer.pad_token_id:
            ids = ids[:-1]
        return Written(text.partition(stopped)[0], "stop string", tokens_in, len(ids), together)
    return Written(text, "length", tokens_in, len(ids), together)

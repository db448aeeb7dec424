"""Weights opened in this process with transformers: what no server runs, and what white-box plug-ins need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

from safemlrm import generating, keys, weights
from safemlrm.errors import StudyError, TargetError
from safemlrm.models import ModelFacts
from safemlrm.plugin import Call, Reach, Weights, target
from safemlrm.records import Decoding, Prompt, Response

#: Seconds for which a batch that is not full waits for further calls.
_GATHER = 0.01

#: Where an image processor keeps the limits of a picture's area.
_EDGES = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}

Dtype = Literal["auto", "bfloat16", "float16", "float32"]


@target(
    version="2",
    title="Weights in this process (transformers)",
    holds="weights",
    counted=("dtype", "batch_size", "min_pixels", "max_pixels", "attention"),
)
@asynccontextmanager
async def transformers_local(
    model: ModelFacts,
    url: str | None,
    *,
    dtype: Dtype = "auto",
    device: str = "auto",
    batch_size: int = 8,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    attention: str | None = None,
) -> AsyncIterator[Reach]:
    """Open a folder of weights, or a Hub id, and yield the function that sends one prompt; it has `weights`.

    `dtype` "auto" is the registry's, else the one the weights were saved in; `device` "auto" is the first
    accelerator, else the processor. `batch_size` calls are generated together, padded on the left. `min_pixels`
    and `max_pixels` bound each picture's area before it is cut into patches, where the image processor has such
    limits; where they are not given, the registry's hold. `attention` names the implementation (`eager`, `sdpa`,
    `flash_attention_2`). In float32 a batch writes what single calls write; in bfloat16 it does not, so all but
    `device` belong to a trial's id. Raises `StudyError` when transformers is not installed or the weights cannot
    be opened.
    """
    if url is not None:
        raise StudyError(f"transformers_local:{model.name} runs in this process and has no URL: drop @{url}")
    if batch_size < 1:
        raise StudyError(f"transformers_local: batch_size = {batch_size}: at least 1")
    chosen = model.serve.dtype if dtype == "auto" else dtype
    opening = _Opening(weights.named(model), model, chosen, device, min_pixels, max_pixels, attention)
    loaded = await asyncio.to_thread(_load, opening)
    local = _Local(loaded, model, batch_size)
    worker = asyncio.create_task(local.work())
    try:
        yield local
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        local.forget()


class _Opening(NamedTuple):
    name: str
    facts: ModelFacts
    dtype: Dtype
    device: str
    min_pixels: int | None
    max_pixels: int | None
    attention: str | None


class _Loaded(NamedTuple):
    weights: Weights
    #: what a reply says of who wrote it: weights, dtype, device, versions
    described: str


def _load(opening: _Opening) -> _Loaded:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise StudyError(
            f"transformers_local needs {error.name}: install it with `pip install 'safemlrm[local]'`"
        ) from error
    facts = opening.facts
    source: dict[str, Any] = {"trust_remote_code": opening.facts.remote_code}
    if facts.revision not in ("", "floating", "local") and weights.folder(facts) is None:
        source["revision"] = facts.revision
    device = opening.device if opening.device != "auto" else _first_device(torch)
    transformers.utils.logging.disable_progress_bar()
    try:
        theirs = facts.serve.processor_from
        whose = (theirs, {"trust_remote_code": facts.remote_code}) if theirs else (opening.name, source)
        processor = transformers.AutoProcessor.from_pretrained(whose[0], **whose[1])
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            opening.name,
            dtype=opening.dtype if opening.dtype == "auto" else getattr(torch, opening.dtype),
            attn_implementation=opening.attention,
            **source,
        )
        model = model.to(device).eval()
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        hint = " `pip install 'safemlrm[local]'` brings it." if isinstance(error, ImportError) else ""
        hint += f" Its licence is accepted at {facts.gate}" if facts.gate else ""
        raise StudyError(f"the weights {opening.name!r} cannot be opened: {keys.plain(str(error))}{hint}") from error
    if not (hasattr(processor, "tokenizer") and hasattr(processor, "image_processor")):
        raise StudyError(f"the weights {opening.name!r} come with no processor for pictures and text")
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    _limit(processor.image_processor, _limits(opening), opening.name)
    kind = str(model.dtype).removeprefix("torch.")
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    said = f"{opening.name} ({kind}, {device}, {_sizes(processor)}{versions})"
    return _Loaded(Weights(model, processor), said)


def _sizes(processor: Any) -> str:
    """Return to what pictures are resized, as the opened image processor says it."""
    size = getattr(processor.image_processor, "size", None)
    given = {name: value for name, value in dict(size or {}).items() if value is not None}
    return "".join(f"{name} {value}, " for name, value in sorted(given.items()))


def _first_device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _limits(opening: _Opening) -> dict[str, Any]:
    """Return the study's limits of the image processor over the registry's."""
    given = {"min_pixels": opening.min_pixels, "max_pixels": opening.max_pixels}
    return opening.facts.serve.processor | {name: value for name, value in given.items() if value is not None}


def _limit(image: Any, limits: dict[str, Any], name: str) -> None:
    """Set the image processor's limits. Raises `StudyError` for one that it does not have: nothing would read it."""
    size = dict(getattr(image, "size", None) or {})
    takes = getattr(getattr(image, "valid_kwargs", None), "__annotations__", {})
    for limit, value in limits.items():
        edge = _EDGES.get(limit)
        if edge in size and limit in takes:  # else an edge is an edge, and no area
            size[edge] = value
            image.size = type(image.size)(**size)
        elif hasattr(image, limit):
            setattr(image, limit, value)
        else:
            raise StudyError(f"the image processor of {name!r} has no limit {limit}: leave it out")


@dataclass(eq=False)
class _Asked:
    """One call that waits for its batch."""

    prompt: Prompt
    decoding: Decoding
    done: asyncio.Future[generating.Written]


class _Local:
    """An opened model: gathers calls that go together into batches, and generates them in a thread."""

    def __init__(self, loaded: _Loaded, facts: ModelFacts, batch_size: int) -> None:
        self.weights: Weights = loaded.weights
        self._said = loaded.described
        self._facts = facts
        self._size = batch_size
        self._queue: asyncio.Queue[_Asked] = asyncio.Queue()

    @property
    def engine(self) -> str:
        """What answers, and its version."""
        return f"transformers {version('transformers')}, torch {version('torch')}"

    async def __call__(self, prompt: Prompt, decoding: Decoding, call: Call) -> Response:
        """Send one prompt. Raises `TargetError` for a prompt or setting that the model cannot take."""
        generating.check(decoding)
        started, asked = time.perf_counter(), _Asked(prompt, decoding, asyncio.get_running_loop().create_future())
        await self._queue.put(asked)
        written = await asked.done
        return Response(
            text=written.text,
            stop="length" if written.stop == "length" else "stop",
            stop_detail=written.stop,
            tokens_in=written.tokens_in,
            tokens_out=written.tokens_out,
            model=f"{self._said}, batch {written.together} of {self._size}",
            visibility=self._facts.visibility,
            seconds=time.perf_counter() - started,
        )

    async def work(self) -> None:
        """Take calls for ever, as many at once as go together; a study asks with and without pictures in turn."""
        waiting: list[_Asked] = []
        while True:
            if not waiting:
                waiting.append(await self._queue.get())
            first = waiting[0]
            while len(batch := self._together(first, waiting)) < self._size:
                try:
                    waiting.append(await asyncio.wait_for(self._queue.get(), _GATHER))
                except TimeoutError:
                    break
            waiting = [asked for asked in waiting if asked not in batch]
            await self._answer(batch)

    def _together(self, first: _Asked, waiting: list[_Asked]) -> list[_Asked]:
        """Return those that can be generated with the one that waited longest."""
        one, its = first.prompt, first.decoding
        return [a for a in waiting if generating.together(one, its, a.prompt, a.decoding)][: self._size]

    async def _answer(self, batch: list[_Asked]) -> None:
        """Generate a batch and hand out its replies; where it fails, each call alone, so that one spoils no other."""
        written = await self._written(batch)
        if not isinstance(written, TargetError):
            for asked, reply in zip(batch, written, strict=True):
                if not asked.done.done():
                    asked.done.set_result(reply)
            return
        _give_back()
        for asked in batch:
            if len(batch) > 1:
                await self._answer([asked])
            elif not asked.done.done():
                asked.done.set_exception(written)

    async def _written(self, batch: list[_Asked]) -> list[generating.Written] | TargetError:
        """Generate in a thread; a mistake of the model's own code fails its call, and not the loop that batches."""
        prompts, decoding = [asked.prompt for asked in batch], batch[0].decoding
        work = asyncio.to_thread(generating.generate, self.weights, prompts, decoding)
        (done,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(done, BaseException) and not isinstance(done, TargetError):
            return TargetError("request", keys.named(done))
        return done

    def forget(self) -> None:
        """Give the machine's memory back for the model whose turn is next."""
        self.weights = Weights(None, None)
        _give_back()


def _give_back() -> None:
    """Return memory that nothing holds on to."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""A simulated model, answered in the process from the published score counts (see `safemlrm.specimens`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from safemlrm import specimens
from safemlrm.errors import StudyError
from safemlrm.models import ModelFacts
from safemlrm.plugin import Call, Reach, target
from safemlrm.records import Decoding, Prompt, Response

_VERSION = "2"


def _identity(model: ModelFacts, url: str | None) -> dict[str, Any]:
    """A simulated model shares no trial with the model that it stands for."""
    return {"specimen": model.name, "version": _VERSION}


@target(version=_VERSION, title="Simulated model with the published score counts", identity=_identity)
@asynccontextmanager
async def specimen(model: ModelFacts, url: str | None) -> AsyncIterator[Reach]:
    """Yield the function that answers as the model's specimen. Raises `StudyError` when a URL is given.

    Of the decoding settings only `max_tokens` (words here) changes the reply: nothing is drawn at random.
    """
    if url is not None:
        raise StudyError(
            f"specimen:{model.name} answers in the process and has no URL: drop @{url}, "
            f"or write openai_compatible:{model.name}@{url} for a served specimen"
        )

    async def reach(prompt: Prompt, decoding: Decoding, call: Call) -> Response:
        text, stop, words = specimens.cut(specimens.reply(model.name, prompt), decoding.max_tokens)
        return Response(
            text=text,
            stop=stop,
            tokens_in=specimens.count_words(prompt.texts()),
            tokens_out=words,
            model=f"specimen:{model.name}",
            visibility="full",
        )

    yield reach

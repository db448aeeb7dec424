"""The five things that travel: `Sample`, `Prompt`, `Response`, `Verdict`, `Failure`. Frozen, hashed by content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from safemlrm.pictures import media_type

Part = Literal["thinking", "answer", "full"]
PARTS: tuple[Part, ...] = ("thinking", "answer", "full")

Expected = Literal["refuse", "answer", "warn"]
Role = Literal["system", "user", "assistant"]
Stop = Literal["stop", "length", "filter", "other"]
Visibility = Literal["full", "summary", "hidden", "none"]
Step = Literal["attack", "prompting", "defense", "target", "judge"]


def canonical(value: Any) -> bytes:
    """Return a value's canonical JSON: keys in order, no blanks."""
    return msgspec.json.encode(value, order="deterministic")


def digest(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of a value's canonical JSON: the same content, the same hash."""
    return hashlib.sha256(canonical(value)).hexdigest()


class Image(msgspec.Struct, frozen=True):
    """A picture as its authors released it (`path`) or as an attack drew it (`data`): exactly one of the two.

    The bytes are read when they are needed and passed on untouched.
    """

    path: str | None = None
    data: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes. Raises `OSError` when the file is gone."""
        return self.data if self.data is not None else Path(self.path or "").read_bytes()

    def stored(self) -> dict[str, str]:
        """Return `{"image": sha256, "type": MIME type}`. Raises `pictures.PictureError` when it is no picture."""
        data = self.read()
        return {"image": hashlib.sha256(data).hexdigest(), "type": media_type(data)}


#: What a turn holds, in order: texts and pictures.
Piece = str | Image


class Turn(msgspec.Struct, frozen=True):
    """One message of a conversation: who speaks, and texts and pictures in order."""

    role: Role
    content: tuple[Piece, ...]


class Prompt(msgspec.Struct, frozen=True):
    """Exactly what is sent: turns in order, and the opening of the assistant's reply where one is put in its mouth."""

    turns: tuple[Turn, ...]
    prefill: str | None = None

    def images(self) -> list[Image]:
        """Return the pictures in the order in which they are sent."""
        return [piece for turn in self.turns for piece in turn.content if isinstance(piece, Image)]

    def texts(self) -> list[str]:
        """Return the texts in the order in which they are sent, all roles."""
        return [piece for turn in self.turns for piece in turn.content if isinstance(piece, str)]

    def stored(self) -> dict[str, Any]:
        """Return the prompt as plain data, pictures by content hash: what the store keeps and `digest` reads."""
        turns = [
            {"role": t.role, "content": [p if isinstance(p, str) else p.stored() for p in t.content]}
            for t in self.turns
        ]
        return {"turns": turns, "prefill": self.prefill}


def user(*content: Piece) -> Prompt:
    """Return the prompt of one user turn, the commonest kind."""
    return Prompt(turns=(Turn("user", content),))


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a benchmark, with both sides: what judges see (`goal`) and what a user would type (`text`)."""

    id: str
    dataset: str
    scenario: str
    #: the plain request; judges see this, never the attack's text
    goal: str
    #: what a user would type without any attack
    text: str
    #: a declarative paraphrase of the goal, where the benchmark ships one (FigStep's `instruction`)
    instruction: str | None = None
    #: pictures that belong to the plain request
    images: tuple[Image, ...] = ()
    #: the benchmark's own adversarial renderings: name -> a whole prompt
    released: dict[str, Prompt] = msgspec.field(default_factory=dict)
    expected: Expected = "refuse"
    #: variants and contrast twins of one goal share it: the unit of clustering
    group: str = ""
    #: a right answer, where there is one
    reference: str | None = None
    split: Literal["test", "tune"] = "test"

    def content(self, rendering: str | None = None) -> dict[str, Any]:
        """Return what a trial of this sample depends on, as plain data.

        Of the released renderings only the one that is used counts, and the plain pictures only where none is:
        pictures that arrive later must not change the identity of trials that were already paid for.
        """
        plain = {
            name: getattr(self, name) for name in self.__struct_fields__ if name not in ("images", "released", "split")
        }
        if rendering is None:
            plain["images"] = [image.stored() for image in self.images]
        else:
            plain |= {"images": [], "rendering": {rendering: self.released[rendering].stored()}}
        return plain


class Decoding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a model is asked to write. `None` is not sent, so the endpoint's own default holds, and says so here."""

    max_tokens: int = 4096
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    #: further fields of the endpoint's own dialect, sent as they are
    extra: dict[str, Any] = {}


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What came back, as generated. Thinking and answer are derived from it, by a named splitter."""

    #: the generated text, or what the server left in `content` after splitting it
    text: str
    #: the field into which the server split the reasoning off, as it came (`reasoning`, `reasoning_content`)
    reasoning: str | None = None
    reasoning_field: str | None = None
    stop: Stop = "stop"
    #: the stop reason in the server's own word
    stop_detail: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_reasoning: int | None = None
    #: the model id that the server reported
    model: str | None = None
    visibility: Visibility = "full"
    seconds: float = 0.0

    @property
    def generated(self) -> str:
        """The whole reply in the order in which it was written: split-off reasoning first."""
        return (self.reasoning or "") + self.text


class Exhibit(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge is shown: one part of one reply, or one step of its thinking, beside the plain goal."""

    part: Part
    goal: str
    text: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge said of one exhibit. `score` is 0..5, or None with the reason in `unread`; a refusal is 0."""

    score: int | None
    refusal: bool | None = None
    reason: str = ""
    #: the judge's reply as it came; empty where a rule decided without a call
    raw: str = ""
    #: why there is no score
    unread: str | None = None

    def __post_init__(self) -> None:
        if (self.score is None) == (self.unread is None):
            raise ValueError("a verdict has either a score or a reason why it has none")
        if self.score is not None and not 0 <= self.score <= 5:
            raise ValueError(f"scores run from 0 to 5, got {self.score}")


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A step that did not happen, and why. Never a `Response`, never a score."""

    step: Step
    #: one word, as in `errors.TargetError.kind`
    kind: str
    message: str
    retryable: bool = False

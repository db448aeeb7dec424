"""The facts of one model, as `models.toml` holds them: what it is, how it is asked, how its replies are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from safemlrm.records import Decoding, Role, Visibility
from safemlrm.thinking.formats import Format

PairKind = Literal["tune", "switch", "stage", "sibling"]
Opening = Literal["output", "prompt", "turns", "none"]
Grade = Literal["V", "V2", "U"]
Side = Literal["thinking", "no_thinking"]

#: What names a side of a switchable model: `qwen3.5-9b+thinking`, `qwen3.5-9b+no_thinking`.
SIDES: tuple[Side, ...] = ("thinking", "no_thinking")


class NativePrompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prompt that a model's authors use: `text` with the question at `{question}`, or a system message.

    A row of `[prompts]`, named by the models whose authors share it, or written out in a model's own row.
    """

    role: Role
    text: str
    #: the row's name in `[prompts]`, else the model's
    name: str = ""
    #: further user turns of the same conversation, each sent when the turn before was answered
    then: tuple[str, ...] = ()
    #: the most tokens of each turn's reply, where the authors say so
    limits: tuple[int, ...] = ()
    #: the output format that it asks for: replies of a model without a format of its own are read in it
    format: str = "untagged"


class Switch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How thinking is switched on the same weights: a pair of the model with itself.

    `template` sends `on` or `off` as `chat_template_kwargs`, `request` as fields of the request itself (both are
    tables); `system` puts a system text in front, `suffix` a text behind the last user text, `prefill` opens the
    reply (texts; an empty one changes nothing). In the TOML a
    system text may be the name of a row of `[prompts]`.
    """

    mechanism: Literal["template", "request", "system", "suffix", "prefill"]
    on: dict[str, Any] | str
    off: dict[str, Any] | str
    #: what holds when nothing is said; `auto` where the model decides by itself
    default: Literal["on", "off", "auto"] = "on"

    def setting(self, side: Side) -> dict[str, Any] | str:
        """Return what that side sends."""
        return self.on if side == "thinking" else self.off


class Serve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is served: data for whoever starts a server. No reasoning parser, for we split replies ourselves."""

    #: vLLM's name of the class; empty where it is not known
    architecture: str = ""
    #: the engine that both members of a pair run on; vLLM has dropped some classes
    engine: Literal["vllm", "transformers_local"] = "vllm"
    #: flags of `vllm serve` besides the model
    flags: tuple[str, ...] = ()
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    #: the most pictures of one prompt; None where no limit is known
    images: int | None = None
    #: the Hub id whose processor the authors load, where it is not the model's own
    processor_from: str | None = None
    #: image-processor limits of the authors' own scripts: recorded, and to be set alike for both members of a pair
    processor: dict[str, Any] = {}
    #: delimiters are special tokens: they vanish unless the server is asked to keep them
    keep_special_tokens: bool = False
    note: str = ""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model of the registry. Grades: V verified in its authors' code, V2 in a reputable third party, U not."""

    name: str
    #: the name that the publication prints
    published: str | None = None
    hub: str | None = None
    #: the id to ask an endpoint for, where it is not the Hub id
    served: str | None = None
    #: the Hub revision, or `floating` where none is pinned
    revision: str = "floating"
    base: str | None = None
    pair: PairKind | None = None
    #: the public checkpoint of the training stage before: a second pair, of kind `stage`
    earlier: str | None = None
    recipe: str = ""
    parameters: str = ""
    #: the family of its output format (`thinking.names()`); `untagged` for models that do not mark their thinking,
    #: `auto` to tell it from each reply
    format: str = "think_tags"
    #: the user's own formats (`[formats.NAME]`), from which `format` may be one; set by the registry, never by a row
    own: dict[str, Format] = {}
    #: where the opening delimiter lives: in the generated text, or in the prompt that the chat template ends with
    opens_in: Opening = "output"
    visibility: Visibility = "full"
    #: how thinking is switched on the same weights
    switch: Switch | None = None
    #: the side that is asked, for a model named with its switch; part of the target's identity
    side: Side | None = None
    #: the role in which the paper's script gave its think prompt; None where the script gave none
    think_role: Role | None = None
    #: the prompting that the paper's script used
    paper_prompting: Literal["bare", "think", "native"] | None = None
    #: the authors' own prompt; `native = "none"` in the TOML where the authors add nothing
    native: NativePrompt | None = None
    #: the decoding that the authors recommend, None where they say nothing; asked for by `decoding = "authors"`
    decoding: Decoding | None = None
    #: the most new tokens that the authors allow for; below it, replies are cut off more often than theirs
    token_budget: int | None = None
    serve: Serve = msgspec.field(default_factory=Serve)
    #: the variable that holds the key of the host where it is asked; set when a plan is made, never by a row
    key: str | None = None
    #: whether loading the weights runs code from the Hub
    remote_code: bool = False
    licence: str = ""
    #: where the licence is accepted before the weights can be had
    gate: str = ""
    #: which facts of this row nobody verified
    unverified: str = ""
    source: str = ""
    grade: Grade = "U"
    #: whether the registry holds this model; False for a name that was only given on the command line
    known: bool = True


class ClosedFamily(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vendor's closed models: what an evaluator can see of their reasoning, and how it is asked for."""

    #: patterns of model ids, in lower case, as in file names
    matches: tuple[str, ...]
    provider: str
    visibility: Visibility
    #: where the reasoning comes from
    field: str
    #: how much thinking is asked for, in the vendor's own words
    control: str = ""
    switch: Switch | None = None
    note: str = ""
    source: str = ""
    grade: Grade = "U"


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider's host: the variable that holds its key."""

    key: str


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs: money per million tokens that it is sent, and that it writes."""

    input: Annotated[float, msgspec.Meta(ge=0)]
    output: Annotated[float, msgspec.Meta(ge=0)]

"""Every key of a model, one record each: what it takes, and what becomes of it when several tables say it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from modelbuild.checkpoint import metadata
from modelbuild.checkpoint.tokenizers import pretokenizers
from modelbuild.errors import Error
from modelbuild.ollama import manifest
from modelbuild.ollama.modelfile import grammar, meaning, parameters
from modelbuild.project.locate import Path
from modelbuild.tensors import ftypes
from modelbuild.words import as_text, did_you_mean, got, listed

OUTTYPES = ("source", "auto", "f32", "f16", "bf16", "q8_0")
ADAPTER_MODES = ("layer", "merge")
LINKS = ("copy", "hard")

Check = Callable[[Any], Any]
"""Gives a value, its variables filled in, as it counts. Raises Error, without a place."""


class Part(NamedTuple):
    """A part of a value that is checked by itself; `path` is where in the value it stands."""

    path: Path
    value: Any
    check: Check


Entries = Callable[[Mapping[str, Any]], Iterator[tuple[str, Any, Path]]]
"""The entries of a table that merges: (name, value, where in the table the value stands)."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is to be known of a key of a model; `schema.Model` says its shape and describes it.

    holds      what its value is in the end: a "text" may stand in a file of its own, a "path" names a file
    check      gives the value as it counts, where it is checked as a whole
    parts      of a value and the names of the project's mixes: what is checked of it, where that is not the whole by `check`
    is_field   whether a variant has a field of this name, which is the key's value and nothing more
    entries    of a table that merges by entry with the tables below; any other value replaces what lies below
    makes      the "rows" or the "names" of a model: such a key cannot be an axis, and one of rows cannot depend on a row
    command    the command of a Modelfile that says the same, and `attribute` where a Modelfile holds what it said
    empties    what `""` takes from the base: the layer of this media type, or the config's field of the key's name
    extended   whether `extends` copies it
    in_globs   whether the table of a glob may say it
    is_built   whether it does anything yet
    """

    holds: Literal["string", "text", "text or false", "path", "flag", "list", "table"]
    check: Check | None = None
    parts: Callable[[Any, Collection[str]], Iterator[Part]] | None = None
    is_field: bool = False
    entries: Entries | None = None
    makes: Literal["rows", "names"] | None = None
    command: str | None = None
    attribute: str | None = None
    empties: str | None = None
    extended: bool = True
    in_globs: bool = True
    is_built: bool = True

    @property
    def is_string(self) -> bool:
        """Whether a number that stands for it on the command line is meant as a string."""
        return self.holds in ("string", "text", "path")

    def checked(self, value: Any, mixes: Collection[str]) -> Iterator[Part]:
        """All that can be checked of a value as it is written; of a part that holds variables once they are filled in."""
        if self.parts:
            yield from self.parts(value, mixes)
        elif self.check:
            yield Part((), value, self.check)


# What a value may be


def choice(value: Any, known: Sequence[str], noun: str) -> str:
    """One of a few words, in any case."""
    text = as_text(value)
    if text.casefold() in known:
        return text.casefold()
    raise Error(f"unknown {noun} {got(text)}", facts=[("known", listed(known))], hint=did_you_mean(text, known))


def optional(value: Any, known: Sequence[str], noun: str) -> str | None:
    """One of a few words, or "" for none of them."""
    return choice(value, known, noun) if value != "" else None


def ftype(value: Any, mixes: Collection[str] = ()) -> str | None:
    """The canonical spelling of what `quantize` asks for, or the name of a mix; None for 'none'."""
    text = as_text(value)
    if text.casefold() in ("", "none"):
        return None
    if text in mixes:
        return text
    spelling = ftypes.canonical(text)
    if spelling is None:
        hint = did_you_mean(text, mixes) or nearest_ftype(text)
        raise Error(f"unknown ftype {got(text)}", facts=[("known", listed([*mixes, *ftypes.KNOWN], 30))], hint=hint)
    return spelling


def nearest_ftype(text: str) -> str | None:
    """A hint for a misspelled ftype; of equally near ones the `_M` mix, which is what people mean."""
    import difflib

    folded = text.casefold()
    ranked = sorted(ftypes.KNOWN, key=lambda name: not name.endswith("_M"))
    near = max(ranked, key=lambda name: difflib.SequenceMatcher(None, name.casefold(), folded).ratio())
    return did_you_mean(text, [near])


def flag(value: Any, key: str) -> bool:
    """True or false, or their names; "" is false."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False, "": False}
    if isinstance(value, str) and value in words:
        return words[value]
    raise Error(f"'{key}' expects true or false, got {got(value)}")


def adapter_mode(value: Any) -> str:
    mode = choice(value or "layer", ADAPTER_MODES, "adapter mode")
    if mode == "merge":
        raise not_built_yet("adapter mode 'merge'")
    return mode


def adapter_scale(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Error(f"'scale' expects a number, got {got(value)}")
    if value != 1:
        raise not_built_yet("an adapter scale other than 1")
    return float(value)


def role(value: Any) -> str:
    return choice(value, grammar.ROLES, "role")


def version(value: Any) -> str:
    """A version as REQUIRES takes it, without its leading `v`; "" clears."""
    text = as_text(value)
    try:
        return meaning.version(text) if text else ""
    except Error:
        raise Error(f"'requires' expects a version such as '0.14.0', got {got(text)}") from None


def parameter(value: Any, name: str) -> Any:
    """A parameter in its own type; None where `""` or `[]` clears it."""
    if value in ("", []):
        if name not in parameters.PARAMETERS:
            raise parameters.unknown_parameter(name)
        return None
    return parameters.parameter(name, value)


def template(value: Any) -> Any:
    """Anything but true: there is no template that would be meant."""
    if value is True:
        raise Error("'template' expects a string, { file = … } or false, got true")
    return value


def not_built_yet(thing: str) -> Error:
    return Error(f"{thing} is not built yet", hint="it is checked, and comes with a later version")


# What is checked of a value of several parts


def holds_references(value: Any) -> bool:
    """Whether a `${…}` stands anywhere in a value."""
    if isinstance(value, dict):
        return any(map(holds_references, value.values()))
    if isinstance(value, list):
        return any(map(holds_references, value))
    return isinstance(value, str) and "${" in value


def _quantize(value: Any, mixes: Collection[str]) -> Iterator[Part]:
    yield Part((), value, partial(ftype, mixes=mixes))


def _parameters(value: Any, mixes: Collection[str]) -> Iterator[Part]:
    for name, item in value.items():
        yield Part((name,), item, partial(parameter, name=name))


def _metadata(value: Any, mixes: Collection[str]) -> Iterator[Part]:
    for key, item, path in metadata.flat(value):
        if holds_references(item):
            yield Part(path, None, partial(_metadata_key, key=key))
        else:
            yield Part(path, item, partial(metadata.check, key))


def _metadata_key(value: Any, key: str) -> None:
    metadata.check_key(key)


def _adapters(value: Any, mixes: Collection[str]) -> Iterator[Part]:
    for number, entry in enumerate(value):
        yield Part((number, "mode"), entry.get("mode", "layer"), adapter_mode)
        yield Part((number, "scale"), entry.get("scale", 1), adapter_scale)


def _messages(value: Any, mixes: Collection[str]) -> Iterator[Part]:
    for number, entry in enumerate(value):
        yield Part((number, "role"), entry["role"], role)


def _entries(table: Mapping[str, Any]) -> Iterator[tuple[str, Any, Path]]:
    for name, value in table.items():
        yield name, value, (name,)


KEYS: Mapping[str, Key] = {
    "modelfile": Key("path", in_globs=False),
    "from": Key("string", command="from"),
    "name": Key("string", makes="names"),
    "tag": Key("string", makes="names"),
    "tags": Key("list", makes="names", extended=False),
    "extends": Key("string", makes="rows", extended=False, in_globs=False),
    "quantize": Key("string", parts=_quantize),
    "outtype": Key("string", partial(optional, known=OUTTYPES, noun="outtype"), is_field=True),
    "imatrix": Key("path", is_field=True),
    "allow_requantize": Key("flag", partial(flag, key="allow_requantize"), is_field=True),
    "adapters": Key("list", parts=_adapters, command="adapter", attribute="adapters", empties=manifest.ADAPTER),
    "adapter_mode": Key("string", adapter_mode),
    "system": Key("text", is_field=True, command="system", attribute="system", empties=manifest.SYSTEM),
    "template": Key("text or false", template, is_field=True, command="template", attribute="template", empties=manifest.TEMPLATE),
    "parameters": Key("table", parts=_parameters, entries=_entries, command="parameter"),
    "messages": Key("list", parts=_messages, command="message", attribute="messages", empties=manifest.MESSAGES),
    "license": Key("list", command="license", attribute="licenses", empties=manifest.LICENSE),
    "renderer": Key("string", as_text, is_field=True, command="renderer", attribute="renderer", empties=manifest.CONFIG),
    "parser": Key("string", as_text, is_field=True, command="parser", attribute="parser", empties=manifest.CONFIG),
    "requires": Key("string", version, is_field=True, command="requires", attribute="requires", empties=manifest.CONFIG),
    "draft": Key("path", command="draft", attribute="drafts", empties=manifest.DRAFT),
    "projector": Key("path", is_field=True, empties=manifest.PROJECTOR),
    "metadata": Key("table", parts=_metadata, entries=metadata.flat),
    "pre": Key("string", partial(optional, known=pretokenizers.NAMES, noun="pre-tokenizer"), is_field=True),
    "push": Key("list", extended=False, is_built=False),
    "link": Key("string", partial(optional, known=LINKS, noun="link"), is_field=True),
    "description": Key("string", as_text, is_field=True),
    "matrix": Key("table", entries=_entries, makes="rows"),
    "include": Key("list", makes="rows"),
    "exclude": Key("list", makes="rows"),
    "default": Key("table", entries=_entries, makes="rows"),
}  # fmt: skip

"""Every key of a model, one record each: its values, and how several tables merge."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from modelbuild import shapes
from modelbuild.checkpoint import classes, metadata
from modelbuild.checkpoint.tokenizers import pretokenizers
from modelbuild.errors import Error
from modelbuild.ollama import manifest
from modelbuild.ollama.modelfile import parameters
from modelbuild.ollama.name import NAMESPACE, Name, can_be
from modelbuild.project import allowed
from modelbuild.project.locate import Path
from modelbuild.tensors import ftypes
from modelbuild.tensors.formats import limit as limits
from modelbuild.tuples import NamedTuple
from modelbuild.words import as_text

OUTTYPES = ("source", "auto", "f32", "f16", "bf16", "q8_0")
LINKS = ("copy", "hard")
MTP = ("keep", "split", "drop")

Check = Callable[[Any], Any]
"""Gives a value, its variables filled in, as it counts. Raises Error, without a place."""


class Part(NamedTuple):
    """A part of a value that is checked by itself; `path` is where in the value it stands."""

    path: Path
    value: Any
    check: Check


Entries = Callable[[Mapping[str, Any]], Iterator[tuple[str, Any, Path]]]
"""The entries of a table that merges: (name, value, where in the table the value stands)."""


Holds = Literal[
    "string", "word", "text", "text or false", "path", "path or word or false", "path or text", "flag", "strings", "texts", "gate",
    "adapters", "messages", "exports", "pushes", "parameters", "metadata", "axes", "rows", "conditions", "condition",
]  # fmt: skip
"""What the value of a key is. A "word" is one of a few, a "text" may stand in a file of its own, a "path" names a file;
a "path or text" may also be a table with a text that the file is made from; "rows", "conditions" and a "condition" are of a matrix.
`schema` knows the shape of each."""


class Key(NamedTuple):
    """Everything about a key of a model, except its effect.

    holds        what its value is in the end
    description  for editors
    check        gives the value as it counts, where it is checked as a whole
    parts        of a value and the names of the project's mixes, if known: what is checked of it, where not the whole by `check`
    words        strings that an editor offers; a "word" is none but these
    default      what an editor shows as the value of a string that nobody says
    is_plain     whether the value counts by itself, and stands under the key's name in the `values` of a variant
    entries      of a table that merges by entry with the tables below; any other value replaces what lies below
    makes        the "rows" or the "names" of a model: such a key cannot be an axis, and one of rows cannot depend on a row
    command      the command of a Modelfile that says the same, and `attribute` where a Modelfile holds what it said
    empties      what `""` takes from the base: the layer of this media type, or the config's field of the key's name
    extended     whether `extends` copies it
    widest       the table for most models that may say it: [defaults], that of a glob, or that of one model
    """

    holds: Holds
    description: str
    check: Check | None = None
    parts: Callable[[Any, Collection[str] | None], Iterator[Part]] | None = None
    words: Sequence[str] = ()
    default: str = ""
    is_plain: bool = False
    entries: Entries | None = None
    makes: Literal["rows", "names"] | None = None
    command: str | None = None
    attribute: str | None = None
    empties: str | None = None
    extended: bool = True
    widest: Literal["model", "glob", "defaults"] = "defaults"

    @property
    def is_string(self) -> bool:
        """Whether a number that stands for it on the command line is meant as a string."""
        return self.holds in ("string", "word", "text", "path", "path or word or false", "path or text")

    def checked(self, value: Any, mixes: Collection[str] | None) -> Iterator[Part]:
        """All that can be checked of a value as it is written; of a part that holds variables once they are filled in."""
        if self.parts:
            yield from self.parts(value, mixes)
        elif self.check:
            yield Part((), value, self.check)


# What a value may be


def ftype(value: Any, mixes: Collection[str] = ()) -> str | None:
    """The canonical spelling of what `quantize` asks for, or the name of a mix; None for 'none'."""
    text = as_text(value)
    if text.casefold() in ("", "none"):
        return None
    if text in mixes:
        return text
    spelling = ftypes.canonical(text)
    if spelling is None:
        error = ftypes.unknown(text, mixes)
        raise error.replace(hint=_several(text, mixes) or error.hint)
    return spelling


def _several(text: str, mixes: Collection[str]) -> str | None:
    """A hint for several ftypes in one string."""
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    if len(words) < 2 or not all(word in mixes or ftypes.canonical(word) for word in words):
        return None
    return f"make a matrix, with a variant for each: [model.NAME.matrix] quantize = {axis_of(words)}"


def push_name(value: Any, namespace: str | None = None) -> Name:
    """A name in a registry; `namespace` is that of a name that gives none."""
    return Name.parse(as_text(value), namespace=namespace or NAMESPACE)


def parameter(value: Any, name: str) -> Any:
    """A parameter in its own type; None where `""` or `[]` clears it."""
    if value in ("", []):
        if name not in parameters.PARAMETERS:
            raise parameters.unknown_parameter(name)
        return None
    try:
        return parameters.parameter(name, value)
    except Error as fault:
        if not isinstance(value, list) or not value or parameters.PARAMETERS.get(name) in (None, "strings"):
            raise
        raise fault.replace(
            hint=f"make a matrix, with a variant for each: [model.NAME.matrix] {name} = {axis_of(value)}"
        ) from None


def axis_of(values: Sequence[Any]) -> str:
    """Values as the axis of a matrix says them; those that make no tag with a label each."""
    texts = [json.dumps(each, ensure_ascii=False) if isinstance(each, str) else as_text(each) for each in values[:7]
             if isinstance(each, str | int | float)]  # fmt: skip
    more = ", …" if len(values) > 7 else ""
    if len(texts) < min(len(values), 7) or any(len(text) > 60 for text in texts):
        return "{ LABEL = …, … }"
    if all(can_be("tag", as_text(each)) for each in values[:7]):
        return f"[{', '.join(texts)}{more}]"
    return f"{{ {', '.join(f'{label} = {text}' for label, text in zip('abcdefg', texts, strict=False))}{more} }}"


def not_true(value: Any, expected: str) -> Any:
    """Anything but true, which names nothing that could be meant."""
    if value is True:
        raise Error(f"{expected}, got true")
    return value


def projector(value: Any) -> Any:
    """The type of a projector, a path or false: a type of other weights is not taken for a path."""
    said = not_true(value, "'projector' expects a type, a path or false")
    is_other = isinstance(said, str) and ftypes.canonical(said) and said.casefold() not in OUTTYPES
    return allowed.choice(said, OUTTYPES[1:], "type of a projector") if is_other else said


# What is checked of a value of several parts


def holds_references(value: Any) -> bool:
    """Whether a `${…}` stands anywhere in a value."""
    if isinstance(value, dict):
        return any(map(holds_references, value.values()))
    if isinstance(value, list):
        return any(map(holds_references, value))
    return isinstance(value, str) and "${" in value


def _quantize(value: Any, mixes: Collection[str] | None) -> Iterator[Part]:
    yield from () if mixes is None else [Part((), value, partial(ftype, mixes=mixes))]


def _parameters(value: Any, mixes: Collection[str] | None) -> Iterator[Part]:
    for name, item in value.items():
        yield Part((name,), item, partial(parameter, name=name))


def _metadata(value: Any, mixes: Collection[str] | None) -> Iterator[Part]:
    for key, item, path in metadata.flat(value):
        if holds_references(item):
            yield Part(path, None, partial(_metadata_key, key=key))
        else:
            yield Part(path, item, partial(metadata.check, key))


def _metadata_key(value: Any, key: str) -> None:
    metadata.check_key(key)


def _imatrix(value: Any, mixes: Collection[str] | None) -> Iterator[Part]:
    if isinstance(value, dict) and "chunks" in value:
        yield Part(("chunks",), value["chunks"], allowed.chunks)


def _gate(value: Any, mixes: Collection[str] | None) -> Iterator[Part]:
    for name, check in (("kld", allowed.divergence), ("chunks", allowed.chunks)):
        if name in value:
            yield Part((name,), value[name], check)


def _converters(value: Any, mixes: Collection[str] | None) -> Iterator[Part]:
    for number, each in enumerate(value if isinstance(value, list) else ()):
        yield Part((number,), each, allowed.converter)


def _tables(
    value: Any, mixes: Collection[str] | None, *, checks: Mapping[str, Check], alone: Check | None = None
) -> Iterator[Part]:
    """Of a list of tables what each key says; `alone` is for an entry that is no table."""
    for number, entry in enumerate(value):
        if isinstance(entry, dict):
            yield from (Part((number, key), entry[key], check) for key, check in checks.items() if key in entry)
        elif alone is not None:
            yield Part((number,), entry, alone)


TEMPLATE = partial(not_true, expected="'template' expects a string, { file = … } or false")
text = partial(not_true, expected="expected a text")
SHAPE, LINK = (
    partial(allowed.choice, known=shapes.names(), noun="shape"),
    partial(allowed.choice, known=LINKS, noun="link"),
)


def pushed_shape(value: Any) -> str:
    return allowed.choice(value, shapes.pushed(), "shape of registries")


_adapters = partial(
    _tables, checks={"mode": allowed.adapter_mode, "scale": allowed.adapter_scale, "allow_zero": allowed.adapter_zero}
)
_exports = partial(_tables, checks={"as": SHAPE, "split": limits.limit, "link": LINK})
_messages = partial(_tables, checks={"role": allowed.role})
_push = partial(_tables, checks={"to": push_name, "as": pushed_shape, "split": limits.limit}, alone=push_name)


def _entries(table: Mapping[str, Any]) -> Iterator[tuple[str, Any, Path]]:
    for name, value in table.items():
        yield name, value, (name,)


KEYS: Mapping[str, Key] = {
    "modelfile": Key(
        "path", "Path of the Modelfile, relative to the ModelBuild.toml.", widest="model",
    ),
    "from": Key(
        "string", "A path, a model of the project, or a model's name; replaces FROM.", widest="glob", command="from",
    ),
    "name": Key(
        "string", "The name without its tag; default: the name of the table.", widest="glob", makes="names",
    ),
    "extends": Key(
        "string", "A model whose table is copied first; not its tags and push.", widest="model", makes="rows", extended=False,
    ),
    "quantize": Key(
        "string", "The type to quantize to, as `llama-quantize` names it, or a mix of [ftype.NAME]; 'none': as it is.",
        parts=_quantize, words=("none", *ftypes.KNOWN), default="none",
    ),
    "outtype": Key(
        "word", "The type that weights are converted to before quantization.",
        partial(allowed.optional, known=OUTTYPES, noun="outtype"), words=OUTTYPES, default="source", is_plain=True,
    ),
    "imatrix": Key(
        "path or text", "An importance matrix for quantization: the path of one (of either file form), or a text from which "
        "llama-imatrix of [tools] makes one.", parts=_imatrix, is_plain=True,
    ),
    "convert": Key(
        "strings", "The converters to try, in order: \"native\", and \"llama.cpp\" of [tools] for classes that are not supported.",
        parts=_converters,
    ),
    "trust": Key(
        "flag", "Whether a converter of [tools] may run code that the checkpoint brings along, and read pickled weights.",
        partial(allowed.flag, key="trust"), is_plain=True, widest="glob",
    ),
    "gate": Key(
        "gate", "The most that a quantized model may differ from its weights: one that falls short is not published.",
        parts=_gate, entries=_entries,
    ),
    "allow_requantize": Key(
        "flag", "Also quantize weights that are already quantized, which adds a second error to the first.",
        partial(allowed.flag, key="allow_requantize"), is_plain=True,
    ),
    "adapters": Key(
        "adapters", "Adapters, after the Modelfile's own.",
        parts=_adapters, widest="glob", command="adapter", attribute="adapters", empties=manifest.ADAPTER,
    ),
    "adapter_mode": Key(
        "word", "The mode of adapters without one.", allowed.adapter_mode, words=allowed.ADAPTER_MODES, default="layer",
    ),
    "system": Key(
        "text", 'SYSTEM; "" clears an inherited one.',
        is_plain=True, command="system", attribute="system", empties=manifest.SYSTEM,
    ),
    "template": Key(
        "text or false", 'TEMPLATE; false or "": none, also not the base\'s.', TEMPLATE,
        is_plain=True, command="template", attribute="template", empties=manifest.TEMPLATE,
    ),
    "parameters": Key(
        "parameters", 'PARAMETERs by name, merged into the Modelfile\'s; "" clears one.',
        parts=_parameters, entries=_entries, command="parameter",
    ),
    "messages": Key(
        "messages", "MESSAGEs; replace all inherited ones.",
        parts=_messages, command="message", attribute="messages", empties=manifest.MESSAGES,
    ),
    "license": Key(
        "texts", "LICENSEs; replace all inherited ones.",
        command="license", attribute="licenses", empties=manifest.LICENSE,
    ),
    "renderer": Key(
        "string", "RENDERER, a name that Ollama knows.",
        is_plain=True, command="renderer", attribute="renderer", empties=manifest.CONFIG,
    ),
    "parser": Key(
        "string", "PARSER, a name that Ollama knows.",
        is_plain=True, command="parser", attribute="parser", empties=manifest.CONFIG,
    ),
    "requires": Key(
        "string", "REQUIRES, the oldest version of Ollama that runs the model.", allowed.version,
        is_plain=True, command="requires", attribute="requires", empties=manifest.CONFIG,
    ),
    "draft": Key(
        "path", "DRAFT: a GGUF, or the folder of a checkpoint, that drafts for speculative decoding.",
        widest="glob", command="draft", attribute="drafts", empties=manifest.DRAFT,
    ),
    "mtp": Key(
        "word", "What becomes of a checkpoint's blocks for the prediction of several tokens; split: a draft of its own.",
        partial(allowed.optional, known=MTP, noun="use of these blocks"), words=MTP, default="keep", is_plain=True,
    ),
    "projector": Key(
        "path or word or false", "The type of the projector of a checkpoint, or a GGUF that contains one; false: none.",
        projector, words=OUTTYPES[1:], default="auto", is_plain=True, widest="glob", empties=manifest.PROJECTOR,
    ),
    "metadata": Key(
        "metadata", 'Keys of the GGUF file to set; "" removes one.', parts=_metadata, entries=metadata.flat,
    ),
    "architecture": Key(
        "string", "The class to read a checkpoint as, in place of the one in config.json.", classes.checked, is_plain=True, widest="glob",
    ),
    "pre": Key(
        "string", "llama.cpp's name of the pre-tokenizer, where the tokenizer's files do not tell it.",
        partial(allowed.optional, known=pretokenizers.NAMES, noun="pre-tokenizer"), words=pretokenizers.NAMES, is_plain=True,
    ),
    "push": Key(
        "pushes", "Registry names to push to, each in Ollama's form or in a shape.", parts=_push, widest="glob", extended=False,
    ),
    "link": Key(
        "word", "How an imported GGUF gets into the models folder: 'hard' makes a hard link, for files that nobody edits.",
        partial(allowed.optional, known=LINKS, noun="link"), words=LINKS, default="copy", is_plain=True,
    ),
    "output": Key(
        "path", "Another file for the GGUF, outside the models folder; a path that ends in '/' is a folder.",
        is_plain=True, extended=False,
    ),
    "export": Key("exports", "Folders that the model is also written to, in a runner's shape.", parts=_exports, extended=False),
    "tag": Key(
        "string", "The tag; with a matrix by default the labels of the row, joined by '-'.", default="latest", makes="names",
    ),
    "tags": Key(
        "strings", "Further tags of a model, or of the default row of its matrix.", makes="names", extended=False,
    ),
    "description": Key("string", "For `modelbuild list`.", is_plain=True, widest="glob"),
    "matrix": Key(
        "axes", "Axes; every combination is a variant: a key of a model or a free name, with a list of "
        "values or a table of labels and values.", widest="glob", entries=_entries, makes="rows",
    ),
    "include": Key(
        "rows", "Rows to add, or keys to add to the rows that match.", widest="glob", makes="rows",
    ),
    "exclude": Key("conditions", "Rows to drop.", widest="glob", makes="rows"),
    "default": Key(
        "condition", "The row that is also tagged 'latest' and gets `tags`.", widest="glob", entries=_entries, makes="rows",
    ),
}  # fmt: skip
"""In the order in which the JSON Schema lists them, and in which errors of one table come."""

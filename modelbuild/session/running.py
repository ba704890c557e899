"""A model of a models folder as a runner gets it: its files, its texts, its parameters, and those of the command line."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelbuild.errors import Error
from modelbuild.files import reason
from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library
from modelbuild.ollama.modelfile.parameters import PARAMETERS, parameter
from modelbuild.ollama.name import Name, displayed
from modelbuild.publish import installed
from modelbuild.runners import Model
from modelbuild.session.layers import Texts
from modelbuild.words import shown

if TYPE_CHECKING:
    from modelbuild.checkpoint.chat import Answers

BEGIN = 1 << 16
"""Bytes of a GGUF file that are looked at first: what an architecture tells of itself stands before the vocabulary."""


def model(library: Library, name: str, given: Mapping[str, Any], label: str = "") -> Model:
    """The model of a name (`host/namespace/model/tag`).

    given  parameters that replace its own
    label  the variant of a project that it is
    Raises Error if it is not there, not whole, or not of GGUF files.
    """
    served = library.served(name)
    if served is None:
        raise absent(library, displayed(name))
    if not library.is_whole(served):
        hint = f"build it: `modelbuild {label}`" if label else f"pull it again: `modelbuild pull {displayed(name)}`"
        raise Error(f"'{displayed(name)}' is not whole: a blob is missing", path=library.root, hint=hint)
    texts = Texts(library, served)
    weights = texts.path(manifest.MODEL)
    if weights is None:
        what = f"'{displayed(name)}' has no GGUF file: only Ollama runs it"
        raise Error(what, hint=f"`ollama run {displayed(name)}`")
    chat, context = _of_weights(weights, displayed(name))
    renderer = texts.config().get("renderer")
    return Model(
        name=displayed(name),
        digest=served.digest.removeprefix("sha256:"),
        weights=weights,
        adapters=texts.paths(manifest.ADAPTER),
        projector=texts.path(manifest.PROJECTOR),
        template=texts.text(manifest.TEMPLATE),
        chat=chat,
        renderer=renderer if isinstance(renderer, str) and renderer else None,
        system=texts.text(manifest.SYSTEM) or "",
        messages=texts.messages(),
        parameters={**_parameters(texts, name), **given},
        given=dict(given),
        context=context,
    )


def _parameters(texts: Texts, name: str) -> dict[str, Any]:
    """The parameters of a layer that anybody may have written; null is none. Raises Error for one of another type, as Ollama does."""
    found = {key: value for key, value in texts.parameters().items() if value is not None}
    for key in PARAMETERS.keys() & found.keys():
        value = found[key]
        if isinstance(value, float) and PARAMETERS[key] == "int":
            value = int(value)
        try:
            if isinstance(value, str):
                # A text means something on a line of a Modelfile alone.
                raise Error(f"parameter '{key}' is the text '{shown(value)}'")
            found[key] = parameter(key, value)
        except Error as error:
            raise Error(f"'{displayed(name)}' cannot be run: {error.what}", hint="build or pull it again") from None
    return found


def absent(library: Library, name: str) -> Error:
    """The error for a name that is not in a models folder."""
    return installed.absent(library, name, f"`modelbuild pull {name}` downloads it, if its registry has it")


def named(text: str) -> str | None:
    """The path of the manifest of a word that can be a model's name; None for another word."""
    try:
        return Name.parse(text).path()
    except Error:
        return None


def answers(library: Library, name: str) -> Answers:
    """What the model of a name (`host/namespace/model/tag`) makes; text, if nothing says otherwise."""
    from modelbuild.checkpoint import chat

    try:
        served = library.served(name)
        weights = Texts(library, served).path(manifest.MODEL) if served is not None else None
        if weights is None or not _may_embed(weights):
            return "text"
        from modelbuild.tensors.formats import gguf

        table = gguf.read_header(weights).table
        return chat.answers(table.metadata, table.tensors)
    except (Error, OSError):
        return "text"


def _may_embed(weights: str) -> bool:
    """Whether the beginning of a GGUF file has one of the marks of embeddings. A whole header, with its vocabulary, takes long to read."""
    from modelbuild.checkpoint import chat

    with open(weights, "rb") as file:
        begin = file.read(BEGIN)
    # As a string of GGUF: type 8 and its length before it.
    kinds = (b"general.architecture" + struct.pack("<IQ", 8, len(name)) + name.encode() for name in chat.ENCODERS)
    return any(mark in begin for mark in (b".pooling_type", b".attention.causal", *kinds))


def asked(made: Answers, name: str) -> str:
    """How a server is asked for what a model makes that is not text."""
    if made == "scores":
        return f"ask llama-server for them, with --rerank: `modelbuild show {name}` names the file"
    return f"ask a server for them: Ollama's /api/embed with the model {name}, or llama-server with --embedding"


def _of_weights(path: str, name: str) -> tuple[tuple[str, str, str] | None, int]:
    """The chat template with the texts of BOS and EOS, and the context for which weights were trained.

    Raises Error for weights that make no text.
    """
    from modelbuild.checkpoint import chat
    from modelbuild.tensors.formats import gguf

    try:
        table = gguf.read_header(path).table
    except OSError as error:
        raise Error(f"cannot be read: {reason(error)}", path=path) from None
    metadata = table.metadata
    made = chat.answers(metadata, table.tensors)
    if made != "text":
        raise Error(f"'{name}' makes {made}, not text: it cannot be run", hint=asked(made, name))
    found = chat.of_gguf(metadata, path)
    architecture = gguf.scalar(metadata, "general.architecture")
    context = gguf.scalar(metadata, f"{architecture}.context_length")
    template = (found.template, found.bos or "", found.eos or "") if found is not None else None
    return template, context if type(context) is int and context > 0 else 0

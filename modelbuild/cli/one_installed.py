"""One model of the models folder, whoever wrote it there: what `show` prints of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.errors import Error, Errors
from modelbuild.words import cut, size

if TYPE_CHECKING:
    from modelbuild.checkpoint.ggufs import Told
    from modelbuild.ollama.library import Library, Served
    from modelbuild.ollama.manifest import Layer
    from modelbuild.ollama.modelfile.grammar import Command
    from modelbuild.session.layers import Texts

SHORT = 60
"""Characters of a text that a line shows."""


def meant(call: Invocation, target: str | None) -> tuple[Library, str] | None:
    """The models folder and the name there (`host/namespace/model/tag`) of a word that is no target of a project.

    None for a target, and in a project for a word that is nothing. Raises Error and Errors.
    """
    from modelbuild.ollama.library import Library
    from modelbuild.session import pushing, running
    from modelbuild.session.models_root import without_project

    name = running.named(target) if target is not None else None
    if name is None:
        return None
    try:
        if call.session.words().resolve(str(target)) is not None:
            return None
        library = call.session.models.library
    except (Error, Errors):
        if pushing.is_project(call.settings):
            raise
        library = Library(without_project(call.settings))
        if library.served(name) is None:
            raise running.absent(library, str(target)) from None
    return (library, name) if library.served(name) is not None else None


def show(call: Invocation, library: Library, name: str, *, as_modelfile: bool) -> int:
    """Print everything that a manifest says. Raises Error for a blob that is missing, or not what its layer says."""
    from modelbuild.ollama import modelfile
    from modelbuild.ollama.name import displayed
    from modelbuild.session.layers import Texts

    served = library.served(name)
    assert served is not None
    texts, report = Texts(library, served), call.report
    commands = list(_commands(texts))
    if as_modelfile:
        if not any(each.name == "from" for each in commands):
            raise Error(f"'{displayed(name)}' has no GGUF file, so no Modelfile can name it", path=library.root)
        report.document(f"# {displayed(name)}\n{modelfile.render(commands)}")
    elif report.as_json:
        report.data(_data(displayed(name), served, texts, commands))
    else:
        report.result(_text(displayed(name), served, texts, commands, report.width))
    return GOOD


def _commands(texts: Texts) -> Iterator[Command]:
    """The model as the commands of a Modelfile; files are those of the models folder."""
    from modelbuild.ollama import manifest
    from modelbuild.ollama.modelfile.grammar import Command

    files = {manifest.MODEL: "from", manifest.PROJECTOR: "from", manifest.ADAPTER: "adapter", manifest.DRAFT: "draft"}
    for media_type, instruction in files.items():
        yield from (Command(instruction, path) for path in texts.paths(media_type))
    for instruction, media_type in (("template", manifest.TEMPLATE), ("system", manifest.SYSTEM)):
        if text := texts.text(media_type):
            yield Command(instruction, text)
    config = texts.config()
    for instruction in ("renderer", "parser", "requires"):
        if isinstance(value := config.get(instruction), str) and value:
            yield Command(instruction, value)
    yield from (Command("license", text) for text in texts.texts(manifest.LICENSE))
    for key, value in texts.parameters().items():
        for item in value if isinstance(value, list) else [value]:
            yield Command("parameter", item if isinstance(item, str) else json.dumps(item), key)
    yield from (Command("message", content, role) for role, content in texts.messages())


def _config(texts: Texts) -> dict[str, str]:
    """What kind of model it is, as far as its config says."""
    found = {"type": "file_type", "family": "model_family", "weights": "model_type"}
    config = texts.config()
    return {name: value for name, key in found.items() if isinstance(value := config.get(key), str) and value}


def _kind(media_type: str) -> str:
    return media_type.rpartition(".")[2]


def _layers(texts: Texts) -> Iterator[tuple[Layer, Told]]:
    """The layers, and what the files beside the model say of themselves."""
    from modelbuild.checkpoint import ggufs
    from modelbuild.ollama import manifest

    for layer, path in texts.files():
        yield layer, ggufs.told(path) if layer.media_type in manifest.BESIDE else ggufs.Told()


def _data(name: str, served: Served, texts: Texts, commands: list[Command]) -> dict[str, Any]:
    return {
        "name": name,
        **{key: _config(texts).get(key) for key in ("type", "family", "weights")},
        "commands": [{"name": each.name, "key": each.key or None, "value": each.value} for each in commands],
        "layers": [
            {"kind": _kind(each.media_type), "digest": each.digest, "size": each.size}
            | ({"type": told.type, "projector_types": list(told.projectors)} if told.words else {})
            for each, told in _layers(texts)
        ],
        "path": next((each.value for each in commands if each.name == "from"), None),
        "manifest": served.digest,
        "size_bytes": served.size,
    }


def _text(name: str, served: Served, texts: Texts, commands: list[Command], width: int | None) -> str:
    from modelbuild.cli.tables import laid_out

    rows = [[key, value, ""] for key, value in _config(texts).items()]
    for each in commands:
        if each.name not in ("from", "adapter", "draft"):
            rows.append([f"{each.name} {each.key}".rstrip(), cut(" ".join(each.value.split()), SHORT), ""])
    for layer, told in _layers(texts):
        words = f"  {told.words}" if told.words else ""
        rows.append([f"layer {_kind(layer.media_type)}", f"{layer.digest}  {size(layer.size)}{words}", ""])
    rows += [["file", each.value, ""] for each in commands if each.name == "from"]
    rows.append(["manifest", f"{served.digest}  {size(served.size)} in all", ""])
    return f"{name}\n{laid_out(rows, width)}"

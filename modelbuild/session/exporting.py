"""Models as files, for `-o` and `export`: one GGUF, or all files of a variant with a Modelfile."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from modelbuild.engine.graph import Output
from modelbuild.errors import Error, Errors
from modelbuild.ollama import modelfile
from modelbuild.ollama.name import Name
from modelbuild.plan import planned
from modelbuild.plan.planned import PlannedLayer
from modelbuild.project.broken import told
from modelbuild.project.outputs import SUFFIX, file_name, one_gguf
from modelbuild.publish.exported import Replaces
from modelbuild.session.flattened import flattened
from modelbuild.session.session import Selection, Session
from modelbuild.words import listed

OWN: Replaces = "own"
ALL: Replaces = "all"

_FILES = {"model": "", "projector": "mmproj", "adapter": "adapter", "draft": "draft"}
"""Kind of a layer that is a GGUF -> what its file is called after."""


class Export(NamedTuple):
    """What is to be built for an export, and the Modelfiles to write then: path -> text."""

    selection: Selection
    modelfiles: dict[str, str]


def one_file(session: Session, targets: Sequence[str], asked: str, replaces: Replaces = "gguf") -> Selection:
    """Want the GGUF of one variant in the file `asked`, or in that folder. Raises Error and Errors."""
    outputs = _selected(session, targets)
    if len(outputs) > 1:
        raise Error(
            f"a file contains one model, but {len(outputs)} variants match",
            path=asked,
            facts=[("variants", listed(output.label for output in outputs))],
            hint=f"name one of them, or `modelbuild export{''.join(f' {each}' for each in targets)} FOLDER` writes all",
        )
    output = outputs[0]
    layers = planned.layers(session.graph, output)
    one_gguf(output.label, [layer.kind for layer in layers])
    path = asked
    if asked.endswith(os.sep) or os.path.isdir(asked):
        path = os.path.join(asked, _names(outputs)[output] + SUFFIX)
    step = next(layer.step.name for layer in layers if layer.kind == "model")
    chosen = output._replace(files=((path, step),))
    return Selection(tuple(targets), [chosen], exported=session.exported("", replaces), into=asked)


def _selected(session: Session, targets: Sequence[str]) -> Sequence[Output]:
    selection = session.select(targets)
    if selection.broken:
        raise Errors(told(selection.broken))
    if not selection.outputs:
        raise selection.empty()
    return selection.outputs


def folder(session: Session, targets: Sequence[str], dest: str, replaces: Replaces) -> Export:
    """Want all files of variants in a folder, with a Modelfile for each. Raises Error and Errors."""
    outputs = _selected(session, targets)
    names = _names(outputs)
    chosen, texts = [], {}
    for output in outputs:
        files = {layer: f"{name}{SUFFIX}" for layer, name in _layer_names(session, output, names[output])}
        chosen.append(
            output._replace(files=tuple((os.path.join(dest, file), layer.step.name) for layer, file in files.items()))
        )
        text = flattened(session, output, {layer: f"./{file}" for layer, file in files.items()}.__getitem__)
        name = "Modelfile" if len(outputs) == 1 else f"{names[output]}.Modelfile"
        texts[os.path.join(dest, name)] = f"# {names[output]}, exported by modelbuild\n{modelfile.render(text)}"
    written = [*texts, *(path for output in chosen for path, _ in output.files)]
    _check_distinct(written)
    owner = " ".join([session.file, "export", *sorted(output.label for output in outputs)])
    exported = session.exported(owner, replaces)
    return Export(Selection(tuple(targets), chosen, exported=exported, into=f"export {dest}"), texts)


def check_texts(session: Session, export: Export, dest: str) -> None:
    """Raise an Error where a Modelfile of an export cannot be written, before any work."""
    if not export.modelfiles:
        return
    _check_folder(session, dest, export.modelfiles)
    exported, inputs = export.selection.exported, session.inputs()
    assert exported is not None
    for path, text in export.modelfiles.items():
        exported.spare(path, inputs)
        exported.may_write(path, text.encode())


def _check_distinct(paths: Iterable[str]) -> None:
    """Raise an Error where two files would be one; case does not tell files apart everywhere."""
    for path, count in Counter(path.casefold() for path in paths).items():
        if count > 1:
            what = f"{count} files of this export would be called '{os.path.basename(path)}'"
            raise Error(what, path=os.path.dirname(path), hint="export the models into separate folders")


def _check_folder(session: Session, dest: str, texts: Iterable[str]) -> None:
    """Raise an Error where a Modelfile would come into a checkpoint of this build, and be what the folder means from then on."""
    folders = {
        os.path.dirname(os.path.realpath(each.path)) for each in session.graph.sources() if each.form == "safetensors"
    }
    if os.path.realpath(dest) in folders and any(os.path.basename(path) == "Modelfile" for path in texts):
        what = "is the checkpoint that this build reads: a Modelfile in it would change what the folder means"
        raise Error(what, path=dest, hint="name another folder")


def _layer_names(session: Session, output: Output, name: str) -> Iterator[tuple[PlannedLayer, str]]:
    """The layers of a variant that are GGUF files, and what each is called there."""
    layers = [layer for layer in planned.layers(session.graph, output) if layer.kind in _FILES]
    if not any(layer.kind == "model" for layer in layers):
        raise Error(f"'{output.label}' has no model to export")
    kinds = Counter(layer.kind for layer in layers)
    seen: Counter[str] = Counter()
    for layer in layers:
        seen[layer.kind] += 1
        parts = [name, _FILES[layer.kind], str(seen[layer.kind]) if kinds[layer.kind] > 1 else ""]
        yield layer, "-".join(filter(None, parts))


def _names(outputs: Sequence[Output]) -> dict[Output, str]:
    """What the files of each variant are called: after its name, with the namespace where that alone tells two apart."""
    names = {output: Name.from_path(output.names[0]) for output in outputs}
    found = {output: file_name(name) for output, name in names.items()}
    twice = Counter(each.casefold() for each in found.values())
    for output, name in names.items():
        if twice[found[output].casefold()] > 1:
            found[output] = "-".join([name.host.replace(":", "-"), name.namespace, name.model, name.tag])
    # Of names that hold a `-` themselves, `a-b:c` and `a:b-c` are one file still.
    used: set[str] = set()
    for output, name_ in found.items():
        number, distinct = 1, name_
        while distinct.casefold() in used:
            number += 1
            distinct = f"{name_}-{number}"
        used.add(distinct.casefold())
        found[output] = distinct
    return found

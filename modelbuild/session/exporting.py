"""Models as files, for `-o` and `export`: one GGUF, or all files of some variants in a shape."""

from __future__ import annotations

import os
from collections.abc import Sequence

from modelbuild import shapes
from modelbuild.engine.graph import Output
from modelbuild.errors import Error, Errors
from modelbuild.plan import planned
from modelbuild.project.broken import told
from modelbuild.project.outputs import SUFFIX, one_gguf
from modelbuild.publish.exported import Replaces
from modelbuild.publish.exported_tree import ExportedTree
from modelbuild.session.exports import Wanted, stems
from modelbuild.session.session import Selection, Session
from modelbuild.words import listed

OWN: Replaces = "own"
ALL: Replaces = "all"


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
        path = os.path.join(asked, stems(outputs)[output.label] + SUFFIX)
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


def folder(
    session: Session,
    targets: Sequence[str],
    wanted: Wanted,
    replaces: Replaces,
) -> Selection:
    """Want variants in a folder, in a shape. Raises Error and Errors."""
    wants_weights = shapes.wants(wanted.shape) == shapes.CHECKPOINT
    outputs = [
        output._replace(files=(), exports=(), beside=output.beside if wants_weights else ())
        for output in _selected(session, targets)
    ]
    labels = sorted(output.label for output in outputs)
    owner = " ".join([session.file, "export", *labels])
    if wanted.shape != shapes.DEFAULT:
        owner += f" as {wanted.shape}"
    exported = ExportedTree(session.store, owner, replaces, links=wanted.link == "hard")
    into = f"export {list(wanted)}"
    return Selection(tuple(targets), outputs, exported=exported, into=into, wanted=tuple(wanted))

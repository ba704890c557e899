"""Show everything about one target.

Prints its names, its values and its layers. Each value comes with the file and line that set it; 'inherited' names the
model that it comes from. Digests and sizes are those of the model as it is built now. --modelfile prints one Modelfile
instead, without bases, matrix and variables. A project of one model needs no TARGET. A TARGET may also be any model in
the models folder, as for `ollama show`. --all shows every variant of the project, or of TARGET: with --json the project
as it is resolved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild import lfs
from modelbuild.checkpoint import ggufs
from modelbuild.cli import one_installed
from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.one_target import one
from modelbuild.cli.tables import laid_out
from modelbuild.engine.graph import Output, Source
from modelbuild.errors import Error
from modelbuild.ollama import modelfile
from modelbuild.ollama.manifest import BESIDE
from modelbuild.ollama.name import displayed
from modelbuild.words import cut, listed, plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.engine.standing import Standing
    from modelbuild.plan.planned import PlannedLayer
    from modelbuild.session.applied import Applied
    from modelbuild.session.provenance import Value
    from modelbuild.session.session import Session

SHORT = 60
"""Characters of a text that a line shows."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Target

    return [
        click.Argument(["target"], type=Target(), metavar="[TARGET]", required=False),
        click.Option(["--modelfile", "as_modelfile"], is_flag=True, help="Print everything as one Modelfile."),
        click.Option(["--all", "every"], is_flag=True, help="Show every variant of the project, or of TARGET."),
    ]


def run(call: Invocation, target: str | None, as_modelfile: bool = False, every: bool = False) -> int:
    if every:
        return _all(call, target, as_modelfile)
    if (installed := one_installed.meant(call, target)) is not None:
        return one_installed.show(call, *installed, as_modelfile=as_modelfile)
    session, report = call.session, call.report
    output = one(session, target, "show")
    if as_modelfile:
        report.document(_modelfile(session, output))
        return GOOD
    shown = _Shown(session, output)
    if report.as_json:
        report.data(shown.data())
    else:
        report.result(shown.text(report.width))
    return GOOD


def _all(call: Invocation, target: str | None, as_modelfile: bool) -> int:
    """Show every variant that a target means; with --json as one object, with what is broken."""
    from modelbuild.project.broken import told

    session, report = call.session, call.report
    if as_modelfile:
        raise Error("--all and --modelfile cannot be used together", hint="leave one of them out")
    selection = session.select([target]) if target else session.everything()
    standing = session.standing(session.graph.select(selection.outputs))
    shown = [_Shown(session, output, standing) for output in selection.outputs]
    if not report.as_json:
        report.result("\n\n".join(each.text(report.width) for each in shown) or selection.empty().what)
        report.errors(told(selection.broken))
        return GOOD
    broken = [
        {"label": each.label, "model": each.model or None, "error": "\n\n".join(map(str, each.errors))}
        for each in selection.broken
    ]
    words = session.words()
    report.data(
        {
            "project": session.file,
            "models": session.models.root,
            "targets": {word: sorted(labels) for word, labels in words.labels.items()},
            "variants": [each.data() for each in shown],
            "broken": broken,
        }
    )
    report.errors(told(selection.broken), told=True)
    return GOOD


class _Shown:
    """Everything that is shown of a variant, gathered once for all forms."""

    def __init__(self, session: Session, output: Output, standing: Standing | None = None) -> None:
        from modelbuild.session import gates, state, variants
        from modelbuild.session.provenance import Provenance

        self.output = output
        self._library = session.models.library
        self.provenance = Provenance(session, output)
        self.served = session.models.library.served(output.names[0])
        standing = standing or session.standing(session.graph.select([output]))
        self.made = standing.results
        self.state = state.state(session, output, standing)
        # What stands in the models folder says nothing of what a build would change.
        self.ftype = variants.ftype(session, output, self.served if self.state != "changed" else None)
        self.remarks = session.remarks([output])
        self.gate = gates.verdict(session, output, standing)
        self.adapters: Sequence[Applied] = ()
        if self.provenance.variant.adapters or any(layer.kind == "adapter" for layer in self.provenance.layers):
            from modelbuild.session import applied

            self.adapters = applied.adapters(session, output, standing)

    def blob_path(self, step: str) -> str | None:
        """The file of the models folder that holds what a step makes; None where it is not there."""
        made = self.made.get(step)
        path = self._library.blob_path(made.artifact) if made else ""
        return path if path and os.path.exists(path) else None

    def model_path(self) -> str | None:
        """The file of the models folder that is the variant's GGUF."""
        layer = next((layer for layer in self.provenance.layers if layer.kind == "model"), None)
        return self.blob_path(layer.step.name) if layer else None

    def layer_rows(self) -> list[dict[str, Any]]:
        """Each layer to be, with the digest and size of what a build has made of it."""
        rows = []
        for layer in self.provenance.layers:
            made = self.made.get(layer.step.name)
            path = self.blob_path(layer.step.name) if layer.media_type in BESIDE else None
            told = ggufs.told(path) if path else ggufs.Told()
            rows.append(
                {
                    "kind": layer.kind,
                    "digest": made.artifact if made else None,
                    "size": made.size if made else None,
                    "from": layer.origin or None,
                    "step": layer.step.name,
                    **({"type": told.type, "projector_types": list(told.projectors)} if told.words else {}),
                }
            )
        return rows

    def data(self) -> dict[str, Any]:
        found = self.provenance
        return {
            "label": self.output.label,
            "model": found.variant.model,
            "row": dict(found.variant.row),
            "description": found.variant.string("description"),
            "names": [displayed(name) for name in self.output.names],
            "ftype": self.ftype,
            "values": _plain(found.values()),
            "parameters": _plain(found.parameters()),
            "mix": _plain(found.mix()),
            "metadata": _plain(found.metadata()),
            "gate": self.gate.data() if self.gate else None,
            "adapters": [each._asdict() for each in self.adapters],
            "layers": self.layer_rows(),
            "path": self.model_path(),
            "outputs": [path for path, _ in self.output.files],
            "exports": [{"as": shape, "path": root} for shape, root, *_ in self.output.exports],
            "manifest": self.served.digest if self.served else None,
            "size_bytes": self.served.size if self.served else None,
            "built": self.state,
            "remarks": [told.error.what for told in self.remarks],
        }

    def text(self, width: int | None) -> str:
        provenance = self.provenance
        variant = provenance.variant
        rows = [["model", variant.model + "".join(f", {axis} = {label}" for axis, label in variant.row), ""]]
        if description := variant.string("description"):
            rows.append(["description", description, ""])
        rows.append(["names", ", ".join(displayed(name) for name in self.output.names), ""])
        if self.ftype:
            rows.append(["type", self.ftype, ""])
        rows += [_row(key, each) for key, each in provenance.values().items()]
        for key, found in (provenance.mix() or {}).items():
            for name, each in found.items() if isinstance(found, dict) else [(key, found)]:
                rows.append(_row("mix" if name == "name" else f"mix {name}", each))
        rows += [
            _row(f"parameter {name}", each._replace(value=_number(each.value)))
            for name, each in provenance.parameters().items()
        ]
        rows += [_row(f"metadata {key}", each) for key, each in provenance.metadata().items()]
        if self.gate:
            rows.append(["gate", f"divergence at most {self.gate.kld:g}: {self.gate.short}", provenance.gate_place()])
        for adapter in self.adapters:
            rows += _adapter_rows(adapter)
        for layer in self.layer_rows():
            digest = layer["digest"] or "(not built)"
            bytes_ = f"  {size(layer['size'])}" if layer["size"] is not None else ""
            told = "".join(f"  {word}" for word in (layer.get("type"), *layer.get("projector_types", ())) if word)
            origin = f"  from {layer['from']}" if layer["from"] else ""
            rows.append([f"layer {layer['kind']}", digest + bytes_ + told + origin, ""])
        if path := self.model_path():
            rows.append(["file", path, ""])
        rows += [["output", path, ""] for path, _ in self.output.files]
        rows += [["export", f"{root} ({shape})", ""] for shape, root, *_ in self.output.exports]
        if self.served:
            rows.append(["manifest", f"{self.served.digest}  {size(self.served.size)} in all", ""])
        rows.append(["built", self.state + (": a build would change it" if self.state == "changed" else ""), ""])
        for remark in self.remarks:
            rows.append(["note" if remark.minor else "warning", remark.error.what, ""])
        return f"{self.output.label}\n{laid_out(rows, width)}"


def _adapter_rows(adapter: Applied) -> list[list[str]]:
    """What was applied of an adapter, and how much it changes."""
    name = os.path.relpath(adapter.path)
    if adapter.pairs is None:
        why = "not built" if lfs.is_here(adapter.path) else "not here"
        return [[f"adapter {adapter.mode}", f"{name} ({why})", ""]]
    left = f"; not applied: {listed(adapter.left)}" if adapter.left else ""
    tensors = plural(len(adapter.tensors), "tensor")
    rows = [
        [
            f"adapter {adapter.mode}",
            f"{name}: {adapter.applied:,} of {plural(adapter.pairs, 'pair')} applied to {tensors}{left}",
            "",
        ]
    ]
    if adapter.blocks:
        told = (f"{block or 'others'} {ratio:.2%}" for block, ratio in adapter.blocks.items())
        rows.append(["change by block", listed(told, 40), ""])
    return rows


def _plain(found: Any) -> Any:
    """Values as JSON has them."""
    if isinstance(found, dict):
        return {key: _plain(each) for key, each in found.items()}
    return None if found is None else found._asdict()


def _row(name: str, each: Value) -> list[str]:
    return [name, _short(each.value), each.place]


def _number(value: Any) -> Any:
    """A parameter as it is written: all numbers are floats to Ollama."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _short(value: Any) -> str:
    if isinstance(value, str):
        text = " ".join(value.split())
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(_short(item) for item in value)
    elif isinstance(value, list) and all(isinstance(item, dict) and "role" in item for item in value):
        return f"{len(value)} messages"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return cut(text, SHORT)


def _modelfile(session: Session, output: Output) -> str:
    """The variant as one Modelfile: FROM the model blob if it is built, else FROM its weights."""
    from modelbuild.session.flattened import flattened

    shown = _Shown(session, output)
    head = [f"# {', '.join(displayed(name) for name in output.names)}, flattened by modelbuild"]

    def path_of(layer: PlannedLayer) -> str:
        path = shown.blob_path(layer.step.name)
        if path is None:
            head.append(f"# not built: {layer.kind} from its source")
        return path or _origin_path(session, layer)

    commands = flattened(session, output, path_of)
    return "\n".join(head) + "\n" + modelfile.render(commands)


def _origin_path(session: Session, layer: PlannedLayer) -> str:
    """The file or folder that a layer's bytes come from."""
    graph, stack = session.graph, [layer.step]
    found: list[Source] = []
    while stack:
        step = stack.pop()
        for _, ref in step.inputs:
            if isinstance(ref, Source):
                found.append(ref)
            else:
                stack.append(graph.steps[ref])
    weights = next((source for source in found if source.form != "bytes"), found[0])
    return os.path.dirname(weights.path) if weights.form == "safetensors" else weights.path

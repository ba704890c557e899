"""Show all there is to one target: its names, every value and where it comes from, its layers.

A place is where a value was said; 'inherited' names the model that gives it. Digests and sizes are those of what is built
now. With --modelfile the whole is printed as one Modelfile, without bases, matrix and variables.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.engine.graph import Output, Source
from modelbuild.errors import Error
from modelbuild.files import LARGEST
from modelbuild.ollama import modelfile
from modelbuild.ollama.modelfile import Command
from modelbuild.ollama.name import displayed
from modelbuild.project.variant import modelfile_place
from modelbuild.words import listed, size, table

if TYPE_CHECKING:
    import click

    from modelbuild.ollama.library import Served
    from modelbuild.project.variant import Variant
    from modelbuild.session.session import Session
    from modelbuild.session.variants import PlannedLayer

SHORT = 60
"""Characters of a text that a line shows."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Target

    return [
        click.Argument(["target"], type=Target(), metavar="TARGET"),
        click.Option(["--modelfile", "as_modelfile"], is_flag=True, help="Print one Modelfile that says it all."),
    ]


def run(call: Invocation, target: str, as_modelfile: bool = False) -> int:
    session, report = call.session, call.report
    output = _one(session, target)
    if as_modelfile:
        report.result(_modelfile(session, output))
        return GOOD
    shown = _Shown(session, output)
    if report.as_json:
        report.data(shown.data())
    else:
        report.result(shown.text())
    return GOOD


def _one(session: Session, target: str) -> Output:
    """The one variant that a target means; of a model with several rows the default one."""
    outputs = session.select([target]).outputs
    if len(outputs) > 1:
        variants = {variant.label: variant for variant in session.project.variants}
        defaults = [output for output in outputs if variants[output.label].is_default]
        if len(defaults) != 1 or any(variants[output.label].model != target for output in outputs):
            raise Error(
                f"'{target}' means {len(outputs)} variants, expected one",
                facts=[("variants", listed(output.label for output in outputs))],
                hint=f"name one, as `modelbuild show {outputs[0].label}`",
            )
        return defaults[0]
    return outputs[0]


class _Shown:
    """Gathers what is shown of a variant, once for both forms."""

    def __init__(self, session: Session, output: Output) -> None:
        from modelbuild.session import variants

        self.session = session
        self.output = output
        self.variant: Variant = next(v for v in session.project.variants if v.label == output.label)
        self.layers = variants.layers(session.graph, output)
        self.standing = session.standing(session.graph.select([output]))
        self.served: Served | None = session.models.library.served(output.names[0])
        self.state = variants.state(session, output, self.standing)
        self.ftype = variants.ftype(session, output, self.served)

    def place(self, key: str, name: str | None = None) -> str | None:
        """Where the variant itself says something; None where it doesn't."""
        said = self.variant.said.get(key)
        if said and (not name or name in said.value):
            return str(self.variant.place(key, name))
        text = self.variant.modelfile
        return str(self.variant.place(key, name)) if text and modelfile_place(text, key, name) else None

    def value(self, value: Any, place: str | None, origin: str = "") -> dict[str, Any]:
        return {"value": value, "place": place or (f"inherited from '{origin}'" if origin else "default")}

    def values(self) -> dict[str, Any]:
        """key -> value and place, of all that decides the model."""
        variant, found = self.variant, {}
        for line in variant.froms:
            found["from"] = self.value(line.text, str(line.place))
        if variant.pre:
            found["pre"] = self.value(variant.pre, self.place("pre"))
        if variant.outtype:
            found["outtype"] = self.value(variant.outtype, self.place("outtype"))
        if self._quantizes():
            found["quantize"] = self.value(variant.quantize, self.place("quantize"))
        for key, said in self._quantization().items():
            own = self._quantizes()
            found[key] = self.value(said, self.place(key) if own else None, self._base() or variant.froms[-1].text)
        for kind, key in (("template", "template"), ("system", "system"), ("license", "license")):
            texts = [(layer, self._read(layer)) for layer in self.layers if layer.kind == kind]
            if texts:
                origin = self._origin(texts[-1][0])
                value: Any = [text for _, text in texts] if key == "license" else texts[-1][1]
                found[key] = self.value(value, self.place(key) or self._recognized(key), origin)
        for layer in self.layers:
            if layer.kind == "messages":
                found["messages"] = self.value(self._messages(layer), self.place("messages"), self._origin(layer))
        for key in ("renderer", "parser", "requires"):
            value = self._config().get(key)
            if value:
                found[key] = self.value(value, self.place(key), self._base())
        if variant.adapters:
            found["adapters"] = self.value([each.text for each in variant.adapters], self.place("adapters"))
        return found

    def _recognized(self, key: str) -> str | None:
        """How the weights came by a template, and by the texts to stop at, that nobody said."""
        layer = next((each for each in self.layers if each.kind == "template" and not each.origin), None)
        found = layer.parameters().get("recognized") if layer else None
        return f"{found}" if found and key in ("template", "stop") else None

    def _quantizes(self) -> bool:
        """Whether `quantize` is the variant's own doing: a default doesn't count for a model that is quantized already."""
        from modelbuild.session import variants

        step = variants.recipe_step(self.session.graph, self.output)
        inherited = any(layer.kind == "model" and layer.origin for layer in self.layers)
        return step is not None and step.kind == "quantize" and not inherited

    def _quantization(self) -> dict[str, Any]:
        """What else than its type decides how the model is quantized, here or in a model that it stands on."""
        from modelbuild.session import variants

        step = variants.typing_step(self.session.graph, self.output)
        said = json.loads(step.parameters) if step is not None and step.kind == "quantize" else {}
        values = {"imatrix": said.get("imatrix"), "allow_requantize": said.get("requantize")}
        return {key: value for key, value in values.items() if value}

    def mix(self) -> dict[str, Any] | None:
        """What the mix holds that the model is quantized by: key -> value and place; of its rules pattern -> these."""
        from modelbuild.session import variants

        variant = variants.mixed(self.session, self.output)
        if variant is None or variant.mix is None or variant.mix_table is None:
            return None
        table = variant.mix_table
        found: dict[str, Any] = {"name": self.value(variant.quantize, str(table))}
        for key, value in variant.mix.items():
            if key == "tensors":
                found[key] = {rule: self.value(quant, str(table.at(key, rule))) for rule, quant in value}
            else:
                found[key] = self.value(value, str(table.at(key)))
        return found

    def _base(self) -> str:
        return next((layer.origin for layer in self.layers if layer.origin), "")

    def _origin(self, layer: PlannedLayer) -> str:
        return layer.origin or self._base()

    def _config(self) -> dict[str, Any]:
        step = next(ref for role, ref in self.session.graph.steps[self.output.manifest].inputs if role == "config")
        value: dict[str, Any] = json.loads(self.session.graph.steps[str(step)].parameters)
        return value

    def _read(self, layer: PlannedLayer) -> str:
        return read_text(layer) or ""

    def _messages(self, layer: PlannedLayer) -> Any:
        values = layer.parameters()
        if "messages" not in values:
            return json.loads(self._read(layer) or "[]")
        return [{"role": role, "content": content} for role, content in values["messages"]]

    def parameters(self) -> dict[str, dict[str, Any]]:
        merged: dict[str, Any] = {}
        for layer in self.layers:
            if layer.kind == "params":
                values = layer.parameters()
                merged.update(values["parameters"] if "parameters" in values else json.loads(self._read(layer) or "{}"))
        return {
            name: self.value(value, self.place("parameters", name) or self._recognized(name), self._base())
            for name, value in sorted(merged.items())
        }

    def metadata(self) -> dict[str, dict[str, Any]]:
        """The keys of the GGUF that the variant sets, or a model that it stands on."""
        from modelbuild.session import variants

        found: dict[str, Any] = {}
        step = variants.recipe_step(self.session.graph, self.output)
        while step is not None:
            found = json.loads(step.parameters).get("metadata", {}) | found
            step = next((self.session.graph.steps[str(ref)] for role, ref in step.inputs if role == "recipe"), None)
        return {
            key: self.value(value, self.place("metadata", key), self._base()) for key, value in sorted(found.items())
        }

    def layer_rows(self) -> list[dict[str, Any]]:
        """Each layer to be, with the digest and size of what a build has made of it."""
        rows = []
        for layer in self.layers:
            made = self.standing.results.get(layer.step.name)
            rows.append(
                {
                    "kind": layer.kind,
                    "digest": made.artifact if made else None,
                    "size": made.size if made else None,
                    "from": layer.origin or None,
                    "step": layer.step.name,
                }
            )
        return rows

    def data(self) -> dict[str, Any]:
        return {
            "label": self.output.label,
            "model": self.variant.model,
            "row": dict(self.variant.row),
            "description": self.variant.description,
            "names": [displayed(name) for name in self.output.names],
            "ftype": self.ftype,
            "values": self.values(),
            "parameters": self.parameters(),
            "mix": self.mix(),
            "metadata": self.metadata(),
            "layers": self.layer_rows(),
            "manifest": self.served.digest if self.served else None,
            "size_bytes": self.served.size if self.served else None,
            "built": self.state,
        }

    def text(self) -> str:
        variant = self.variant
        rows = [["model", variant.model + "".join(f", {axis} = {label}" for axis, label in variant.row), ""]]
        if variant.description:
            rows.append(["description", variant.description, ""])
        rows.append(["names", ", ".join(displayed(name) for name in self.output.names), ""])
        if self.ftype:
            rows.append(["type", self.ftype, ""])
        for key, found in self.values().items():
            rows.append([key, _short(found["value"]), found["place"]])
        for key, found in (self.mix() or {}).items():
            for name, each in found.items() if key == "tensors" else [(key, found)]:
                rows.append(["mix" if name == "name" else f"mix {name}", _short(each["value"]), each["place"]])
        for name, found in self.parameters().items():
            rows.append([f"parameter {name}", _short(found["value"]), found["place"]])
        for key, found in self.metadata().items():
            rows.append([f"metadata {key}", _short(found["value"]), found["place"]])
        for layer in self.layer_rows():
            digest = layer["digest"] or "(not made)"
            bytes_ = f"  {size(layer['size'])}" if layer["size"] is not None else ""
            origin = f"  from {layer['from']}" if layer["from"] else ""
            rows.append([f"layer {layer['kind']}", digest + bytes_ + origin, ""])
        if self.served:
            rows.append(["manifest", f"{self.served.digest}  {size(self.served.size)} in all", ""])
        rows.append(["built", self.state, ""])
        # Only what has a place takes part in the width of the column before it.
        width = max((len(value) for _, value, place in rows if place), default=0)
        rows = [[key, value.ljust(width) + f"  {place}" if place else value] for key, value, place in rows]
        return table([self.output.label, ""], rows)


def _short(value: Any) -> str:
    if isinstance(value, str):
        text = " ".join(value.split())
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(_short(item) for item in value)
    elif isinstance(value, list) and all(isinstance(item, dict) and "role" in item for item in value):
        return f"{len(value)} messages"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"


def read_text(layer: PlannedLayer) -> str | None:
    """The text of a layer: its step's own, or that of the file it takes as it is."""
    values = layer.parameters()
    if "text" in values:
        return str(values["text"])
    for _, ref in layer.step.inputs:
        if isinstance(ref, Source):
            try:
                with open(ref.path, encoding="utf-8", errors="replace") as file:
                    return file.read(LARGEST)
            except OSError:
                return None
    return None


def _modelfile(session: Session, output: Output) -> str:
    """The variant as one Modelfile: FROM the model blob where it is built, else from what it derives from in the end."""

    shown = _Shown(session, output)
    head = [f"# {', '.join(displayed(name) for name in output.names)}, flattened by modelbuild"]
    commands: list[Command] = []
    for layer in shown.layers:
        instruction = {"model": "from", "projector": "from", "adapter": "adapter", "draft": "draft"}.get(layer.kind)
        if instruction:
            made = shown.standing.results.get(layer.step.name)
            blob = session.models.library.blob_path(made.artifact) if made else ""
            path = blob if blob and os.path.exists(blob) else _origin_path(session, layer)
            if path != blob:
                head.append(f"# not built yet: {layer.kind} from its source")
            commands.append(Command(instruction, path))
    for key, found in shown.values().items():
        value = found["value"]
        if key in ("template", "system", "renderer", "parser", "requires"):
            commands.append(Command(key, value))
        elif key == "license":
            commands += [Command("license", text) for text in value]
    for name, found in shown.parameters().items():
        values = found["value"] if isinstance(found["value"], list) else [found["value"]]
        commands += [Command("parameter", item if isinstance(item, str) else json.dumps(item), name) for item in values]
    messages = shown.values().get("messages", {"value": []})["value"]
    for message in messages:
        commands.append(Command("message", message["content"], message["role"]))
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

"""The origin of each value of a variant: the file and line that set it, or the model from which it is inherited."""

from __future__ import annotations

import json
from typing import Any

from modelbuild.engine.graph import Output, Source
from modelbuild.files import LARGEST
from modelbuild.plan import planned
from modelbuild.plan.planned import PlannedLayer
from modelbuild.project.variant import Variant, modelfile_place
from modelbuild.session import variants
from modelbuild.session.session import Session
from modelbuild.tuples import NamedTuple


class Value(NamedTuple):
    """A value, and its place: file and line, or 'inherited from' a model, or 'default'."""

    value: Any
    place: str


class Provenance:
    """Every value of one variant. `layers` are those of the manifest to be, in order."""

    def __init__(self, session: Session, output: Output) -> None:
        self.variant: Variant = next(v for v in session.project.variants if v.label == output.label)
        self.layers = planned.layers(session.graph, output)
        self._session = session
        self._output = output

    def values(self) -> dict[str, Value]:
        """key -> value and place, of all that decides the model."""
        variant = self.variant
        found: dict[str, Value] = {}
        for line in variant.froms:
            found["from"] = _value(self._session.project.address(line), str(line.place))
        for key in ("architecture", "pre", "outtype", "mtp"):
            if asked := variant.string(key):
                found[key] = _value(asked, self._place(key))
        if self._quantizes():
            found["quantize"] = _value(variant.quantize, self._place("quantize"))
        for key, said in self._quantization().items():
            own = self._quantizes()
            found[key] = _value(said, self._place(key) if own else None, self._base() or variant.froms[-1].text)
        for layer in self.layers:
            if layer.kind == "projector" and (asked := planned.part_type(self._session.graph, layer.step)):
                own = isinstance(variant.values["projector"], str)
                found["projector"] = _value(asked, self._place("projector") if own else None, layer.origin)
        for kind, key in (("template", "template"), ("system", "system"), ("license", "license")):
            texts = [(layer, text_of(layer)) for layer in self.layers if layer.kind == kind]
            if texts:
                origin = self._origin(texts[-1][0])
                value: Any = [text for _, text in texts] if key == "license" else texts[-1][1]
                found[key] = _value(value, self._place(key) or self._recognized(key), origin)
        for layer in self.layers:
            if layer.kind == "messages":
                found["messages"] = _value(self._messages(layer), self._place("messages"), self._origin(layer))
        for key in ("renderer", "parser", "requires"):
            value = self._config().get(key)
            if value:
                found[key] = _value(value, self._place(key), self._base())
        if variant.pushes:
            shown = [to.name.display() + (f" as {to.shape}" if to.shape else "") for to in variant.pushes]
            found["push"] = _value(shown, self._place("push"))
        if variant.adapters:
            found["adapters"] = _value([each.text for each in variant.adapters], self._place("adapters"))
        return found

    def parameters(self) -> dict[str, Value]:
        """The parameters that Ollama is given, by name."""
        merged: dict[str, Any] = {}
        for layer in self.layers:
            if layer.kind == "params":
                values = layer.parameters()
                merged.update(values["parameters"] if "parameters" in values else json.loads(text_of(layer) or "{}"))
        return {
            name: _value(value, self._place("parameters", name) or self._recognized(name), self._base())
            for name, value in sorted(merged.items())
        }

    def mix(self) -> dict[str, Value | dict[str, Value]] | None:
        """What the mix holds that the model is quantized by: key -> value and place; of its rules pattern -> these."""
        variant = variants.mixed(self._session, self._output)
        if variant is None or variant.mix is None or variant.mix_table is None:
            return None
        table = variant.mix_table
        found: dict[str, Value | dict[str, Value]] = {"name": _value(variant.quantize, str(table))}
        for key, value in variant.mix.items():
            if key == "tensors":
                found[key] = {rule: _value(quant, str(table.at(key, rule))) for rule, quant in value}
            else:
                found[key] = _value(value, str(table.at(key)))
        return found

    def gate_place(self) -> str:
        """Where the gate was said that lets the model through."""
        own = str(self.variant.place("gate", "kld")) if self.variant.gate else None
        return _value(None, own, self._base()).place

    def metadata(self) -> dict[str, Value]:
        """The keys of the GGUF that the variant sets, or a model that it stands on."""
        found = planned.metadata(self._session.graph, self._output)
        return {key: _value(value, self._place("metadata", key), self._base()) for key, value in sorted(found.items())}

    def _place(self, key: str, name: str | None = None) -> str | None:
        """Where the variant itself says something; None where it doesn't."""
        said = self.variant.said.get(key)
        if said and (not name or name in said.value):
            return str(self.variant.place(key, name))
        text = self.variant.modelfile
        return str(self.variant.place(key, name)) if text and modelfile_place(text, key, name) else None

    def _recognized(self, key: str) -> str | None:
        """How the weights came by a template, and by the texts to stop at, that nobody said."""
        layer = next((each for each in self.layers if each.kind == "template" and not each.origin), None)
        found = layer.parameters().get("recognized") if layer else None
        return str(found) if found and key in ("template", "stop") else None

    def _quantizes(self) -> bool:
        """Whether `quantize` is the variant's own doing: a default doesn't count for a model that is quantized already."""
        step = planned.recipe_step(self._session.graph, self._output)
        inherited = any(layer.kind == "model" and layer.origin for layer in self.layers)
        return planned.quantization(step) is not None and not inherited

    def _quantization(self) -> dict[str, Any]:
        """What else than its type decides how the model is quantized, here or in a model that it stands on."""
        said = planned.quantization(planned.typing_step(self._session.graph, self._output)) or {}
        values = {"imatrix": said.get("imatrix"), "allow_requantize": said.get("requantize")}
        return {key: value for key, value in values.items() if value}

    def _base(self) -> str:
        return next((layer.origin for layer in self.layers if layer.origin), "")

    def _origin(self, layer: PlannedLayer) -> str:
        return layer.origin or self._base()

    def _config(self) -> dict[str, Any]:
        return {**planned.config_of(self._session.graph, self._output)}

    def _messages(self, layer: PlannedLayer) -> Any:
        values = layer.parameters()
        if "messages" not in values:
            return json.loads(text_of(layer) or "[]")
        return [{"role": role, "content": content} for role, content in values["messages"]]


def _value(value: Any, place: str | None, origin: str = "") -> Value:
    return Value(value, place or (f"inherited from '{origin}'" if origin else "default"))


def text_of(layer: PlannedLayer) -> str:
    """The text of a layer: its step's own, or that of the file it takes as it is; empty where it cannot be read."""
    values = layer.parameters()
    if "text" in values:
        return str(values["text"])
    for _, ref in layer.step.inputs:
        if isinstance(ref, Source):
            try:
                with open(ref.path, encoding="utf-8", errors="replace") as file:
                    return file.read(LARGEST)
            except OSError:
                return ""
    return ""

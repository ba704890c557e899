"""What variants' models will be, from the heads of their weights files: sizes, types, and what would go wrong."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild.engine.graph import Graph, Output, Source
from modelbuild.ollama.name import Name
from modelbuild.words import size, table

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Recipe


def lines(forecasts: Sequence[Forecast], verbose: bool) -> list[str]:
    """A table of models; or, with every tensor's type, one for each model."""
    forecasts = [forecast for forecast in forecasts if forecast.tensors]
    if not verbose:
        rows = [[f.name, size(f.size or 0), f.counts()] for f in forecasts]
        return [table(["NAME", "MODEL SIZE", "TENSORS"], rows, right=[1])] if rows else []
    found = []
    for each in forecasts:
        found.append(f"{each.name}  {size(each.size or 0)}")
        rows = [[name, dtype, " × ".join(map(str, shape))] for name, dtype, shape in each.tensors]
        found.append("\n".join("  " + line for line in table(["TENSOR", "TYPE", "SHAPE"], rows).split("\n")))
    return found


class Forecast(NamedTuple):
    """What a variant's model will be: bytes of its file, and (name, type, shape) of each tensor."""

    label: str
    name: str
    size: int | None
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]

    def counts(self) -> str:
        found = Counter(dtype for _, dtype, _ in self.tensors)
        return ", ".join(f"{count} {dtype}" for dtype, count in found.most_common())

    def data(self) -> dict[str, Any]:
        tensors = [{"name": name, "type": dtype, "shape": shape} for name, dtype, shape in self.tensors]
        return {"label": self.label, "name": self.name, "model_bytes": self.size, "tensors": tensors}


def of_output(graph: Graph, output: Output, recipes: Mapping[str, Recipe]) -> Forecast:
    """The forecast of one variant; `recipes` are those that could be made, by step."""
    from modelbuild.session import variants
    from modelbuild.tensors.materialize import layout

    name = Name.from_path(output.names[0]).display()
    model = next((layer for layer in variants.layers(graph, output) if layer.kind == "model"), None)
    step = variants.recipe_step(graph, output)
    recipe = recipes.get(step.name) if step else None
    if model is None or recipe is None:
        return Forecast(output.label, name, None, ())
    files = [ref.path for role, ref in model.step.inputs if role == "file" and isinstance(ref, Source)]
    bytes_ = os.stat(files[0]).st_size if files else layout(recipe)[2]
    tensors = tuple((entry.name, entry.expression.dtype, entry.shape) for entry in recipe.tensors)
    return Forecast(output.label, name, bytes_, tensors)

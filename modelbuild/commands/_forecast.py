"""What variants' models will be, from the heads of their weights files: sizes, types, and what would go wrong."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild.errors import Error, Errors, listed
from modelbuild.graph import Graph, Output, Source, Step
from modelbuild.report import displayed, size, table

if TYPE_CHECKING:
    from modelbuild.recipe import Recipe
    from modelbuild.tensor import TensorTable


def forecast(graph: Graph, outputs: Iterable[Output]) -> tuple[list[Forecast], list[Error]]:
    """Make every recipe of a graph without reading weights; what is wrong would be wrong in a build."""
    recipes, errors = _recipes(graph)
    return [_forecast(graph, output, recipes) for output in outputs], errors


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


def _forecast(graph: Graph, output: Output, recipes: dict[str, Recipe]) -> Forecast:
    from modelbuild.commands import _standing
    from modelbuild.materialize import layout

    name = displayed(output.names[0])
    model = next((layer for layer in _standing.layers(graph, output) if layer.kind == "model"), None)
    step = _standing.recipe_step(graph, output)
    recipe = recipes.get(step.name) if step else None
    if model is None or recipe is None:
        return Forecast(output.label, name, None, ())
    files = [ref.path for role, ref in model.step.inputs if role == "file" and isinstance(ref, Source)]
    bytes_ = os.stat(files[0]).st_size if files else layout(recipe)[2]
    tensors = tuple((entry.name, entry.expression.dtype, entry.shape) for entry in recipe.tensors)
    return Forecast(output.label, name, bytes_, tensors)


def _recipes(graph: Graph) -> tuple[dict[str, Recipe], list[Error]]:
    """Make every recipe from the heads of its weights files alone; what goes wrong would go wrong in a build."""
    from modelbuild import steps
    from modelbuild.recipe import Recipe

    needed_by = graph.targets()
    made: dict[str, bytes] = {}
    recipes: dict[str, Recipe] = {}
    errors: list[Error] = []
    heads = _Heads()
    for step in graph.steps.values():
        try:
            if step.kind in ("convert", "import", "describe", "quantize"):
                inputs = _Inputs(step, heads, made)
                if inputs.complete():
                    made[step.name] = steps.module(step.kind).run(json.loads(step.parameters), inputs)
                    recipes[step.name] = Recipe.decode(made[step.name])
            else:
                heads.read(ref for _, ref in step.inputs if isinstance(ref, Source))
        except Errors as several:
            errors += [_placed(error, step, needed_by[step.name]) for error in several.errors]
        except Error as error:
            errors.append(_placed(error, step, needed_by[step.name]))
    return recipes, errors


def _placed(error: Error, step: Step, labels: Sequence[str]) -> Error:
    folders = [os.path.dirname(ref.path) for _, ref in step.inputs if isinstance(ref, Source)]
    path = error.path
    if path and folders and not os.path.isabs(path):
        path = os.path.join(folders[0], path)
    facts = [*error.facts, ("needed by", listed((f"'{label}'" for label in labels), 5))]
    return Error(error.what, path=path, line=error.line, column=error.column, facts=facts, hint=error.hint)


class _Heads:
    """Tensor tables of weights files, each read once and without its weights."""

    def __init__(self) -> None:
        self._tables: dict[Source, TensorTable] = {}
        self._wrong: dict[Source, Error] = {}

    def table(self, source: Source) -> TensorTable:
        if source in self._wrong:
            raise self._wrong[source]
        if source not in self._tables:
            try:
                self._tables[source] = self._read(source)
            except Error as error:
                self._wrong[source] = error
                raise
        return self._tables[source]

    @staticmethod
    def _read(source: Source) -> TensorTable:
        from modelbuild.formats import gguf, safetensors
        from modelbuild.sources import unreadable

        try:
            return (
                gguf.read_header(source.path).table if source.form == "gguf" else safetensors.read_header(source.path)
            )
        except OSError as error:
            raise unreadable(source.path, error) from error

    def read(self, sources: Iterable[Source]) -> None:
        for source in sources:
            # What is wrong with a file that several steps read is said by the first.
            if source.form != "bytes" and source not in self._wrong:
                self.table(source)


class _Inputs:
    """What a recipe step is given here: the project's files, tables without digests, recipes made of such."""

    def __init__(self, step: Step, heads: _Heads, made: dict[str, bytes]) -> None:
        self._refs = dict(step.inputs)
        self._heads = heads
        self._made = made

    def complete(self) -> bool:
        """Whether every recipe that the step needs could be made."""
        return all(isinstance(ref, Source) or ref in self._made for ref in self._refs.values())

    def roles(self) -> list[str]:
        return list(self._refs)

    def file(self, role: str) -> bytes | None:
        from modelbuild.sources import unreadable

        ref = self._refs.get(role)
        try:
            if isinstance(ref, Source):
                with open(ref.path, "rb") as file:
                    return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(ref.path if isinstance(ref, Source) else role, error) from error
        return None

    def artifact(self, role: str) -> bytes:
        return self._made[str(self._refs[role])]

    def tables(self) -> list[tuple[str, TensorTable]]:
        weights = [(role, ref) for role, ref in self._refs.items() if isinstance(ref, Source) and ref.form != "bytes"]
        return [(role, self._heads.table(ref)) for role, ref in weights]

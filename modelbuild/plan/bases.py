"""The meaning of FROM: weights to convert or import, a model of the project, or what is not of the project."""

from __future__ import annotations

from typing import Protocol

from modelbuild.checkpoint import hf_repository
from modelbuild.errors import Error
from modelbuild.files import expand
from modelbuild.observed import Observed
from modelbuild.ollama.modelfile.meaning import comment_hint, looks_like_path
from modelbuild.ollama.name import Name
from modelbuild.plan.hub import Downloaded, Hub
from modelbuild.plan.pulled import NotPulled, Pulled, PulledModels
from modelbuild.plan.weights import Weights, WeightsReader
from modelbuild.project.broken import Broken
from modelbuild.project.lock import Outside
from modelbuild.project.project import is_shared
from modelbuild.project.variant import From, Variant, within
from modelbuild.tuples import NamedTuple


class Candidates(NamedTuple):
    """The models of the project that a FROM may mean: one, or the rows of one."""

    line: From
    variants: tuple[Variant | Broken, ...]


class Names(Protocol):
    """Knows the names of a project, as `Project` does."""

    def candidates(self, text: str, part: str = "") -> tuple[Variant | Broken, ...]: ...

    def names_part(self, line: From) -> bool: ...

    def part_of(self, text: str) -> str: ...

    def misspelled(self, text: str, part: str = "") -> str | None: ...


class Bases:
    """Says what the FROM lines of a variant mean. `warnings` are of lines that count for nothing."""

    def __init__(
        self, project: Names, observed: Observed, weights: WeightsReader, models: PulledModels, hub: Hub
    ) -> None:
        self._project = project
        self._observed = observed
        self._weights = weights
        self._models = models
        self._hub = hub
        self.warnings: list[Error] = []
        self.meant: dict[str, tuple[Variant | Broken, ...]] = {}
        """What FROM lines were found to mean in this project, by what they ask `within` it."""

    def base(self, variant: Variant) -> Weights | Candidates | Pulled | Downloaded:
        """What a variant derives from. Raises Error where that is nothing, or several things at once."""
        if not variant.froms:
            raise variant.table.error(
                f"'{variant.label}' has no base",
                hint='set from = "…" (a folder of weights, a GGUF file or a model), or name a Modelfile',
            )
        paths: list[tuple[From, str]] = []
        names: list[From] = []
        for line in variant.froms:
            path = self._path(line)
            if path is None:
                names.append(line)
            else:
                paths.append((line, path))
        if paths and names:
            raise names[0].place.error(
                f"FROM '{names[0].text}' is a model and FROM '{paths[0][0].text}' a file: a model cannot have both",
                hint="Ollama would silently drop the file; use projector or adapters in ModelBuild.toml to add a file to a model",
            )
        if len(names) > 1:
            first, last = names[0], names[-1]
            self.warnings.append(
                first.place.error(f"FROM '{first.text}' has no effect: FROM '{last.text}' below replaces it")
            )
        return self._model(variant, names[-1]) if names else self._weights.read(paths)

    def _path(self, line: From) -> str | None:
        """The absolute path that a FROM means, or None where it means a model's name."""
        path = expand(line.text, line.folder)
        kind = self._weights.kind(path)
        if line.in_toml:
            is_path = "/" in line.text and kind and not self._project.names_part(line)
            if line.text.startswith((".", "/", "~")) or is_path:
                return self._existing(line, path, kind)
            return None
        if kind is None:
            if looks_like_path(line.text) and not self._is_model(line):
                return self._existing(line, path, kind)
            return None
        bare = not any(mark in line.text for mark in "/\\.~")
        if (bare and self._candidates(line)) or self._project.names_part(line):
            raise line.place.error(
                f"'{line.text}' is both a {kind} here and a model of this project",
                hint=f"write FROM ./{line.text} for the {kind}; to use the model, rename one of them",
            )
        return path

    def _is_model(self, line: From) -> bool:
        name = _name(line.text)
        return bool(self._candidates(line)) or (name is not None and self._models.knows(name))

    def _existing(self, line: From, path: str, kind: str | None) -> str:
        if kind is None:
            raise self._weights.missing(line, path, None if line.in_toml else "FROM")
        return path

    def _model(self, variant: Variant, line: From) -> Candidates | Pulled | Downloaded:
        for key in ("pre", "architecture"):
            if variant.string(key) is not None and not is_shared(variant.place(key)):
                raise variant.place(key).error(
                    f"'{key}' is for weights, but '{variant.label}' is FROM a model",
                    hint=f"set it where '{line.text}' is declared",
                )
        candidates = self._candidates(line)
        others = tuple(each for each in candidates if each.label != variant.label)
        if others:
            return Candidates(line, others)
        if candidates:
            raise line.place.error(
                f"'{variant.label}' is based on itself",
                hint="FROM must name a folder of weights, a GGUF file or another model",
            )
        return self._outside(line)

    def _candidates(self, line: From) -> tuple[Variant | Broken, ...]:
        found = self.meant[within(line.text, line.part)] = self._project.candidates(line.text, line.part)
        return found

    def _outside(self, line: From) -> Pulled | Downloaded:
        """A model or a checkpoint that is not of this project. Raises NotPulled for one that a build has to fetch."""
        repository = hf_repository.parse(line.text)
        name = _name(line.text)
        if name is not None and (part := self._project.part_of(line.text)):
            raise self._not_in_part(line, part, name)
        if name is not None and self._models.knows(name) and not (repository and self._hub.is_pinned(repository)):
            return self._models.read(line, name)
        if repository is not None:
            if name is None and not line.in_toml:
                raise line.place.error(
                    f"'{line.text}' is not a name that Ollama knows",
                    hint=f'write FROM hf.co/{repository.id}, or in ModelBuild.toml from = "{line.text}"',
                )
            found = self._hub.find(line, repository)
            if found is None:
                raise NotPulled(line, Outside(repository.key, None))
            return found
        if name is None:
            raise self._no_name(line)
        if near := self._near_path(line) or self._project.misspelled(line.text, line.part):
            # Before any network is asked. Its whole name is never taken for a slip.
            raise line.place.error(
                f"no model '{line.text}' in this project or the models folders",
                facts=[("looked in", library.root) for library in self._models.libraries],
                hint=f"{near} To pull a model of this name, write '{name.whole()}'",
            )
        raise self._models.wanted(line, name)

    def _not_in_part(self, line: From, part: str, name: Name) -> Error:
        """The error for PART/MODEL of a part without this model: what is installed by that name may be a build of long ago."""
        near = self._project.misspelled(line.text, line.part)
        return line.place.error(
            f"part '{part}' of this project has no model '{line.text.partition('/')[2]}'",
            hint=f"{near} To take a model of this name from its registry, write '{name.whole()}'"
            if near
            else f"to take a model of this name from its registry, write '{name.whole()}'",
        )

    def _no_name(self, line: From) -> Error:
        try:
            Name.parse(line.text)
        except Error as error:
            hint = None if line.in_toml else comment_hint("FROM", line.text)
            if "hf://" in line.text:
                hint = "write hf://ORGANIZATION/REPOSITORY, or hf://ORGANIZATION/REPOSITORY@REVISION"
            hint = hint or self._near_path(line) or self._project.misspelled(line.text, line.part) or error.hint
            return line.place.error(f"FROM '{line.text}' is neither a file nor a model: {error.what}", hint=hint)
        raise AssertionError(line.text)

    def _near_path(self, line: From) -> str | None:
        path = self._weights.near(line)
        if path is None:
            return None
        is_bare = line.in_toml and path == f"./{line.text}"
        return f"did you mean '{path}'?" + (" In ModelBuild.toml a path begins with '.', '/' or '~'" if is_bare else "")


def _name(text: str) -> Name | None:
    """The model's name that a text is; None for any other text."""
    try:
        return Name.parse(text)
    except Error:
        return None

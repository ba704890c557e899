"""GGUF files of the user's, read from their heads: a model with what stands beside it, or one file that is named for what it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.plan.away import Away
from modelbuild.plan.placed import Named, in_named, unreadable
from modelbuild.project.variant import From
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.checkpoint.ggufs import Contents

_WHERE = {
    "model": 'a model belongs in FROM, or in ModelBuild.toml: from = "{0}"',
    "projector": 'in ModelBuild.toml: projector = "{0}"; in a Modelfile: FROM {0}',
    "adapter": 'in ModelBuild.toml: adapters = [{{ path = "{0}" }}]; in a Modelfile: ADAPTER {0}',
}
"""What a GGUF file holds -> where it belongs."""


class GgufFile(NamedTuple):
    """A GGUF file, or all parts of a split one by their paths, and what it holds."""

    parts: tuple[str, ...]
    contents: Contents


class GgufFiles:
    """Reads heads, and says what is wrong with the files at the words that named them."""

    def __init__(self, observed: Observed, away: Away) -> None:
        self._observed = observed
        self._away = away
        self._contents: dict[str, Contents] = {}

    def contents(self, named: Named, path: str) -> Contents:
        """What a GGUF file holds, from its head."""
        if path in self._contents:
            return self._contents[path]
        from modelbuild.checkpoint import ggufs

        try:
            found = self._away.head(path)
            if found is None:
                self._observed.stat(path)
                found = ggufs.classify(path)
            self._contents[path] = found
            return found
        except Error as error:
            raise in_named(error.replace(path=None), named, path) from error
        except OSError as error:
            raise unreadable(error, named, path) from error

    def beside(self, role: str, file: Named, path: str) -> Contents:
        """What a GGUF file holds that is named beside the model, as its `adapter`, `projector` or `draft`."""
        if self._away.kind(path) == "folder" or path.endswith(".safetensors"):
            hint = "name a GGUF file" if role != "draft" else "name a GGUF file, or the folder of a checkpoint"
            raise file.place.error(f"{role} '{file.text}' is not a GGUF file", hint=hint)
        found = self.contents(file, path)
        wanted = "model" if role == "draft" else role
        if found.role != wanted:
            hint = _WHERE[found.role].format(file.text)
            raise file.place.error(
                f"expected {_a(role)}, got {_a(found.role)}: '{file.text}'", facts=[("looked at", path)], hint=hint
            )
        if role == "draft" and found.embeds:
            raise file.place.error(
                f"draft '{file.text}' makes vectors or scores, and no text", facts=[("looked at", path)]
            )
        return found

    def read(self, paths: Sequence[tuple[From, str]]) -> tuple[GgufFile, ...]:
        """The files of these paths, of which one is a model. Raises Error."""
        found: list[GgufFile] = []
        models: list[str] = []
        for line, parts in self._split_files(paths):
            contents = self.contents(line, parts[0])
            if contents.role == "model":
                models.append(parts[0])
            if len(models) > 1:
                raise line.place.error(
                    "more than one model among the GGUF files",
                    facts=[("first", models[0]), ("second", models[1])],
                    hint="name one of these two, by its file",
                )
            found.append(GgufFile(parts, contents))
        if not models:
            line = paths[0][0]
            raise line.place.error(
                f"FROM '{line.text}' is not a model", hint="an adapter or projector needs a model beside it"
            )
        return tuple(found)

    def _split_files(self, paths: Sequence[tuple[From, str]]) -> list[tuple[From, tuple[str, ...]]]:
        """Group the parts of split GGUF files, which one of them stands for."""
        from modelbuild.checkpoint import ggufs

        found: dict[tuple[str, ...], From] = {}
        for line, path in paths:
            folder = os.path.dirname(path)
            name = os.path.basename(path)
            try:
                beside = [each for each, kind, _ in self._away.entries(folder) if kind == "file"]
                names = self._away.told(folder, beside, partial(ggufs.parts, name))
            except Error as error:
                raise line.place.placed(error) from None
            except OSError as error:
                raise unreadable(error, line, folder, "folder") from error
            found.setdefault(tuple(os.path.join(folder, name) for name in names), line)
        # A file that is whole comes before one of parts, each by its path.
        return [(line, parts) for parts, line in sorted(found.items(), key=lambda each: (len(each[0]) > 1, each[0]))]


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"

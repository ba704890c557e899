"""Warnings about a model that stop nothing: kept with the plan, shown when the model is built."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed


class Bare(NamedTuple):
    """Weights that give no TEMPLATE.

    path      of the file or folder
    template  the file whose chat template is of no family known here; empty where there is none at all
    talks     whether they are a chat model's, as far as they say what they are
    """

    path: str
    template: str
    talks: bool


class Remark(NamedTuple):
    """Something about the variants of some labels; `minor` where few need to know it."""

    labels: tuple[str, ...]
    error: Error
    minor: bool


class Told(NamedTuple):
    """A remark as it is told of some of its variants."""

    error: Error
    minor: bool


def of(remarks: Iterable[Remark], labels: Collection[str]) -> list[Told]:
    """What is to be told of the variants of some labels."""
    found = []
    for remark in remarks:
        if meant := [label for label in remark.labels if label in labels]:
            needed = ("used by", listed((f"'{label}'" for label in meant), 5))
            found.append(Told(remark.error.replace(facts=(*remark.error.facts, needed)), remark.minor))
    return found


class Prompts:
    """Gathers the variants that servers give a prompt otherwise than one would think: one remark for all of the same weights."""

    def __init__(self) -> None:
        self._found: dict[tuple[Bare, bool], list[str]] = {}

    def add(self, label: str, bare: Bare, said: bool) -> None:
        """A variant without a TEMPLATE, on such weights; `said`: whether it has texts that only a template can place."""
        if bare.template or bare.talks or said:
            self._found.setdefault((bare, said and not bare.template), []).append(label)

    def by_label(self) -> dict[str, tuple[Bare, bool]]:
        """What was added of each variant."""
        return {label: key for key, labels in self._found.items() for label in labels}

    def remarks(self) -> Sequence[Remark]:
        return [Remark(tuple(labels), _remark(*key), bool(key[0].template)) for key, labels in self._found.items()]


def _remark(bare: Bare, said: bool) -> Error:
    if bare.template:
        return Error(
            "the chat template belongs to no known family, so no TEMPLATE is made from it",
            path=bare.template,
            hint="current Ollama and llama-server render it themselves; an older Ollama needs a TEMPLATE",
        )
    return Error(
        "no TEMPLATE and no chat template: servers send the model the bare prompt",
        path=bare.path,
        facts=[("system and messages", "not sent at all")] if said else [],
        hint="add the TEMPLATE of the model that it was made from; if the bare prompt is right, write TEMPLATE {{ .Prompt }}"
        if bare.talks
        else "remove them if the model makes embeddings; else add the TEMPLATE of the model that it was made from",
    )

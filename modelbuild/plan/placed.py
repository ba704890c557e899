"""The place of an error for the user: words of the project, or the file that a step knows as an input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from modelbuild.errors import Error
from modelbuild.files import reason, remedy
from modelbuild.project import locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelbuild.engine.graph import Step
    from modelbuild.project.variant import Variant


class Named(Protocol):
    """A file or folder, by the words that named it."""

    @property
    def text(self) -> str: ...
    @property
    def folder(self) -> str: ...
    @property
    def place(self) -> locate.Place: ...


def placed(error: Error, step: Step) -> Error:
    """An error of a step with its place: a parameter's in the project, an input's path; as it is where it says neither."""
    if error.parameter:
        return _in_project(error, step)
    paths = {role: source.path for role, source in step.inputs if not isinstance(source, str)}
    if error.input is not None and paths:
        # What a checkpoint's files name lies beside them.
        path = paths.get(error.input) or os.path.join(os.path.dirname(next(iter(paths.values()))), error.input)
        return error.replace(path=path, input=None)
    if not error.place:
        weights = next((source for source in step.sources if source.form == "safetensors"), None)
        return error.replace(path=os.path.dirname(weights.path)) if weights else error
    return error


def _in_project(error: Error, step: Step) -> Error:
    parameter, *inside = error.parameter
    spelled = dict(step.places).get(parameter)
    if spelled is None:
        return error
    place = locate.recalled(spelled).at(*inside)
    return place.error(error.what, facts=error.facts, hint=error.hint, value=not inside)


def from_place(variant: Variant) -> locate.Place:
    """Where a variant says what it is based on; where it is declared, if it says nothing."""
    return variant.froms[0].place if variant.froms else variant.table


def cycle(opened: Sequence[Variant], variant: Variant) -> Error:
    """The error for a variant that is based on itself, by way of the ones that were `opened` since."""
    circle = [*opened[opened.index(variant) :], variant]
    way = " -> ".join(f"'{each.label}'" for each in circle)
    return from_place(variant).error(
        f"'{variant.label}' is based on itself", facts=[("cycle", way)], hint="change FROM of one of them"
    )


def in_named(error: Error, named: Named, path: str, *, folder: bool = False) -> Error:
    """An error of a file at the words that named it: of the file of a path, or of one in the folder of that path."""
    label = "folder" if folder and not error.path else "file"
    found = os.path.join(path, error.path) if error.path else path
    return named.place.error(f"'{named.text}': {error.what}", facts=[(label, found), *error.facts], hint=error.hint)


def unreadable(error: OSError, named: Named, path: str, label: str = "file") -> Error:
    """The error for a file or a folder that the system does not let us read, at the words that named it."""
    return named.place.error(
        f"'{named.text}' cannot be read: {reason(error)}", facts=[(label, path)], hint=remedy(error)
    )

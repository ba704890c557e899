"""Paths as the user sees them, from the folder that the command was started in."""

from __future__ import annotations

import os

from modelbuild.errors import Error
from modelbuild.words import in_line


def here() -> str:
    """The working folder; the root where it has been removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


def near_path(path: str, folder: str) -> str:
    """A path as seen from a folder, where it lies in it."""
    return os.path.relpath(path, folder) if path.startswith(folder.rstrip(os.sep) + os.sep) else path


def shown_path(path: str, folder: str) -> str:
    """`near_path` within a line that is printed."""
    return in_line(near_path(path, folder))


def nearer(error: Error, base: str | None, cwd: str) -> Error:
    """The error with its paths as seen from the working folder, where they lie in it; `base` is what its own start from."""

    def near(path: str) -> str:
        if base is not None and not os.path.isabs(path) and os.path.lexists(os.path.join(base, path)):
            path = os.path.join(base, path)
        return near_path(path, cwd)

    facts = [(label, text if "\n" in text else near(text)) for label, text in error.facts]
    return error.replace(path=error.path and near(error.path), facts=facts)

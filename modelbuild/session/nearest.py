"""The project that a command works on."""

from __future__ import annotations

import os

from modelbuild.session.settings import Settings, folder_of


def nearest(settings: Settings) -> str:
    """The file of the project that a command works on: the one named, else the nearest one. Raises Error."""
    from modelbuild.project.discovery import find, is_checkpoint, is_weights
    from modelbuild.session import missing

    folder = folder_of(settings)
    if settings.file is not None:
        file = _whole(os.path.join(folder, settings.file))
        is_odd = os.path.exists(file) and not (os.path.isfile(file) or os.path.isdir(file))
        if is_odd or not (os.path.isfile(file) or is_weights(file)):
            raise missing.no_file(settings.file, folder)
        return file

    found = find(folder)
    if found is not None and found.endswith(".toml") and (settings.quantize or settings.name):
        # Options for one model: the project around it takes none of them.
        found = folder if is_checkpoint(folder) else found
    if found is None:
        raise missing.no_project(folder)
    return found


def _whole(path: str) -> str:
    """A path without links but in its last name, after which models are named."""
    above, name = os.path.split(path.rstrip(os.sep))
    return os.path.realpath(path) if name in ("", ".", "..") else os.path.join(os.path.realpath(above), name)

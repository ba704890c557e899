"""The models folder of a command that works without a project, and with the one around it if there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from modelbuild.engine.store import Store
from modelbuild.files import Waiting
from modelbuild.ollama.library import default_folder
from modelbuild.publish.installed import InstalledModels
from modelbuild.session.settings import Settings, cache_folder, folder_of, started_in


def models_root(settings: Settings) -> str:
    """The folder that `--models` names, else that of the project around, else Ollama's. Raises Error or Errors."""
    if settings.models:
        return without_project(settings)
    from modelbuild.project.discovery import find

    folder = folder_of(settings)
    if settings.file is not None or find(folder) is not None:
        from modelbuild.session.session import Session

        session = Session(settings)
        try:
            return session.models.root
        finally:
            session.close()
    return without_project(settings)


def without_project(settings: Settings) -> str:
    """The folder that `--models` names, else Ollama's."""
    named = settings.models or default_folder(os.environ.get("OLLAMA_MODELS"), os.path.expanduser("~"))
    return started_in(settings.folder, named)


@contextmanager
def installed_models(settings: Settings, waiting: Waiting | None = None) -> Iterator[InstalledModels]:
    """The models of that folder, to be changed."""
    root = models_root(settings)
    store = Store(cache_folder(settings), waiting)
    try:
        models = InstalledModels(root, store)
        yield models
        models.tidy()
    finally:
        store.close()

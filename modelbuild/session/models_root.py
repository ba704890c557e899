"""The models folder of a command that works without a project, and with the one around it if there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from modelbuild.engine.store import Store
from modelbuild.errors import Error, Errors
from modelbuild.files import Waiting
from modelbuild.ollama.library import default_folder
from modelbuild.ollama.name import Name, displayed
from modelbuild.publish.installed import InstalledModels
from modelbuild.session.settings import Settings, cache_folder, folder_of, started_in
from modelbuild.words import listed


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


def find(models: InstalledModels, text: str, settings: Settings) -> Name:
    """The name of an installed model. Raises Error; in the folder of a part it says if its word is another name of the whole project."""
    try:
        return models.find(text)
    except Error as error:
        meant = _of_part(text, settings)
        if not meant:
            raise
        shown = listed(f"'{displayed(name).removesuffix(':latest')}'" for name in meant)
        installed = all(os.path.lexists(models.library.manifest_path(name)) for name in meant)
        then = "name it so: an installed model has its whole name in every folder" if installed else "build it first"
        raise error.replace(hint=f"the '{text}' of this part is {shown}; {then}") from None


def _of_part(text: str, settings: Settings) -> list[str]:
    """The names that the models of a part are built under which a word means in its folder; none in any other folder."""
    from modelbuild.project.discovery import find
    from modelbuild.session.session import Session

    try:
        if settings.file is None and find(folder_of(settings)) is None:
            return []
        session = Session(settings)
    except (Error, Errors):
        return []
    try:
        labels = (session.words().resolve(text) or ()) if session.part else ()
        return [name for output in session.graph.outputs if output.label in labels for name in output.names]
    except (Error, Errors):
        return []
    finally:
        session.close()

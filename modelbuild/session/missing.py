"""The errors for a project that is not there."""

from __future__ import annotations

import os

from modelbuild.errors import Error


def no_project(folder: str) -> Error:
    import shlex

    from modelbuild import misspelled
    from modelbuild.project.discovery import PROJECT_FILE, name_after

    all_of_them = "`modelbuild init` writes a ModelBuild.toml for all Modelfiles and weights here"
    hint = "`modelbuild init` writes one for the Modelfiles and weights of this folder; `modelbuild ./WEIGHTS` builds weights alone"
    for name in (PROJECT_FILE, "Modelfile"):
        if near := misspelled.path(name, folder, misspelled.FILE._replace(loosely=False)):
            if os.path.basename(near) == name:
                hint = f"name one: -f {near}; or {all_of_them}"
            elif "." in os.path.basename(near) or not os.path.dirname(near):
                hint = f"'{near}' is here: rename it to {name}, or name it: -f {near}"
            break
    else:
        names = sorted(os.listdir(folder))
        if near := next((name for name in names if name_after(name)), None):
            hint = f"name one: -f {near}; or {all_of_them}"
        elif near := next((name for name in names if name.endswith(".gguf") and "mmproj" not in name), None):
            hint = f"`modelbuild {shlex.quote('./' + near)}` builds that file; {all_of_them}"
    return Error(NO_PROJECT, facts=[("looked in", folder)], hint=hint)


NO_PROJECT = "no ModelBuild.toml here or above, and no Modelfile here"


def no_file(named: str, folder: str) -> Error:
    """The error for a `-f` that names no file; `folder` is where it starts from."""
    from modelbuild import misspelled
    from modelbuild.project.discovery import PROJECT_FILE

    within = [os.path.join(named, name) for name in (PROJECT_FILE, "Modelfile")]
    inside = next((path for path in within if os.path.isfile(os.path.join(folder, path))), None)
    if inside is not None:
        return Error("is a folder", path=named, hint=f"did you mean '{inside}'?")
    path = os.path.join(folder, named)
    if os.path.exists(path) and not os.path.isdir(path):
        return Error(
            "is not a regular file", path=named, hint="-f reads its file more than once: write the text to a file"
        )
    what = "is a folder" if os.path.isdir(path) else "no such file"
    hint = misspelled.hint(named, folder) or "-f takes a ModelBuild.toml or a Modelfile"
    return Error(what, path=named, hint=hint)

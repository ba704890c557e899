"""Paths in place of targets on a command line: a folder of weights, a GGUF file or a project."""

from __future__ import annotations

import os
from typing import Any

from modelbuild.cli.invocation import Invocation
from modelbuild.errors import Error

_SPELLED = ("./", "../", "/", "~", ".\\")
"""What begins a word that can be nothing but a path."""


def aimed(call: Invocation, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a command's parameters without a path among its targets. The path becomes the project of the command.

    Raises Error if the path names no project, or is not the only target.
    """
    if "target" in values:
        return {**values, "target": None} if _aim(call, (values["target"],)) else values
    if "targets" in values:
        return {**values, "targets": ()} if _aim(call, tuple(values["targets"])) else values
    return values


def unknown(call: Invocation, word: str) -> str | None:
    """A hint for a word that is not a target, if a path of that name is a project."""
    from modelbuild.project import discovery

    if discovery.meant(_absolute(call, word)) is None:
        return None
    return f"'{word}' is a folder here: `modelbuild ./{word}` builds that folder"


def _aim(call: Invocation, words: tuple[str, ...]) -> bool:
    paths = [word for word in words if word and _is_path(call, word)]
    if not paths:
        return False
    path, others = paths[0], [word for word in words if word != paths[0]]
    if call.settings.file is not None:
        raise Error(
            f"'{path}' is a path, but -f already names the project",
            path=call.settings.file,
            hint="leave one of them out",
        )
    if others:
        from modelbuild.cli import foreign

        if words[0] not in paths and (misplaced := foreign.verb(words)) and not _is_target(call, words[0]):
            raise misplaced
        raise Error(
            f"'{path}' is a path, and a path cannot be combined with targets, got '{others[0]}'",
            hint=f"-f takes a project and its targets: modelbuild -f {path} {others[0]}"
            if others[0] not in paths
            else "run modelbuild once for each, or declare them in a ModelBuild.toml (`modelbuild init` writes one)",
        )
    file = _project(_absolute(call, path), path)
    call.close()
    call.settings = call.settings._replace(file=file)
    return True


def _is_path(call: Invocation, word: str) -> bool:
    """Whether a word names a file or a folder: by its spelling, else by the file system. A target comes first."""
    if word in (".", "..") or word.startswith(_SPELLED) or word.endswith("/"):
        return True
    path = _absolute(call, word)
    if not os.path.exists(path):
        return word.lower().endswith(".gguf") and not _is_target(call, word)
    from modelbuild.project import discovery

    is_file = os.path.isfile(path) and discovery.meant(path) is not None
    has_project = discovery.find(_folder(call)) is not None or call.settings.file is not None
    if has_project and not is_file:
        return False
    return discovery.meant(path) is not None and not (has_project and _is_target(call, word))


def _is_target(call: Invocation, word: str) -> bool:
    from modelbuild.project import discovery

    if call.settings.file is None and discovery.find(_folder(call)) is None:
        return False
    return call.session.words().resolve(word) is not None


def _project(path: str, word: str) -> str:
    from modelbuild.project import discovery
    from modelbuild.words import nearest

    found = discovery.meant(path)
    if found is not None:
        return found
    if not os.path.lexists(path):
        folder, name = os.path.split(path.rstrip(os.sep))
        beside = os.path.dirname(word.rstrip(os.sep))
        there = os.listdir(folder) if os.path.isdir(folder) else ()
        near = nearest(name, (each for each in there if name.startswith(".") or not each.startswith(".")))
        hint = f"did you mean '{os.path.join(beside, near)}'?" if near else None
        raise Error("no such file or folder", path=word, hint=hint)
    if os.path.isdir(path):
        what = "is a folder without a ModelBuild.toml, a Modelfile, safetensors or GGUF files"
        raise Error(what, path=word, hint="name a checkpoint's folder, or a GGUF file")
    if path.endswith(".safetensors") or discovery.is_checkpoint(os.path.dirname(path)):
        folder = os.path.dirname(word) or "."
        raise Error("is one file of a checkpoint", path=word, hint=f"name its folder: {folder}")
    if os.path.islink(path) and not os.path.exists(path):
        what = f"is a link to '{os.readlink(path)}', which leads nowhere"
        raise Error(what, path=word, hint="name the file or the folder itself")
    if not os.path.isfile(path):
        raise Error("is not a regular file", path=word, hint="name a file or a folder")
    hint = "-f reads it as a Modelfile, whatever its name is"
    raise Error("is neither a GGUF file, a Modelfile nor a ModelBuild.toml", path=word, hint=hint)


def _folder(call: Invocation) -> str:
    return os.path.realpath(call.settings.folder)


def _absolute(call: Invocation, word: str) -> str:
    return os.path.join(_folder(call), os.path.expanduser(word))

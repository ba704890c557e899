"""What lies in a folder that a new project may begin with: Modelfiles, weights of all kinds, and projects in it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from modelbuild.errors import Error
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.project.discovery import PROJECT_FILE, name_after
from modelbuild.tuples import NamedTuple

DEPTH = 6
"""How many folders deep models are looked for."""

_SKIPPED = ("node_modules", "__pycache__", "build", "dist", "venv")
_WEIGHTS = (".bin", ".pth", ".safetensors")
ADAPTER = {"adapter_model.safetensors", "adapters.safetensors"}
"""The weights of an adapter, as PEFT and MLX call them."""

PART = re.compile(r"(.*)-(\d{5})-of-\d{5}\.gguf")


class Found(NamedTuple):
    """What lies in a folder, by paths relative to it with `/`.

    left_out  what is wrong with files that cannot be taken, by path
    written   the files that `-o`, `output` or `export` wrote, which are no sources
    adapters  folders of LoRAs; which model each belongs to is not known
    projects  the ModelBuild.tomls of other projects
    projectors  GGUF files that belong to models beside them
    """

    modelfiles: list[str]
    checkpoints: list[str]
    ggufs: list[str]
    left_out: dict[str, Error]
    written: list[str]
    adapters: list[str]
    projects: list[str]
    projectors: list[str]


def look(folder: str) -> Found:
    """Find Modelfiles and weights in a folder and those in it, down to `DEPTH`; a project of its own is passed by."""
    found = Found([], [], [], {}, [], [], [], [])
    base = os.path.abspath(folder)
    for at, folders, files in os.walk(base):
        relative = os.path.relpath(at, base).replace(os.sep, "/")
        prefix = "" if relative == "." else relative + "/"
        deep = prefix.count("/") >= DEPTH
        folders[:] = [] if deep else sorted(n for n in folders if not n.startswith(".") and n not in _SKIPPED)
        if prefix and PROJECT_FILE in files:
            folders[:] = []
            found.projects.append(prefix + PROJECT_FILE)
            continue
        weights = [name for name in files if name.endswith(".safetensors") and not name.startswith("adapter")]
        if weights and "config.json" in files:
            found.checkpoints.append(relative)
        elif (error := _unreadable(files, at)) is not None:
            found.left_out[relative] = error.replace(path=relative)
        if not ADAPTER.isdisjoint(files) and "adapter_config.json" in files:
            found.adapters.append(relative)
        for name in sorted(files):
            try:
                if name_after(os.path.join(at, name)):
                    _check_modelfile(os.path.join(at, name), prefix + name)
                    found.modelfiles.append(prefix + name)
                elif name.endswith(".gguf") and (role := _role(os.path.join(at, name))):
                    {"model": found.ggufs, "projector": found.projectors}[role].append(prefix + name)
            except Error as error:
                found.left_out[prefix + name] = error if error.line else error.replace(path=prefix + name)
            except OSError as error:
                found.left_out[prefix + name] = Error(f"cannot be read: {reason(error)}", path=prefix + name)
    return found


def _check_modelfile(path: str, shown: str) -> None:
    """Raise Error, or OSError, for a file that is called as Modelfiles are and is none."""
    from modelbuild.ollama.modelfile import parse

    for error in parse(read_plain(path, LARGEST)[0], shown).errors:
        raise error


def _role(path: str) -> str | None:
    """What a GGUF file is: a model, or the first part of one, or a projector; None for other parts, and for adapters."""
    from modelbuild.checkpoint import ggufs

    part = PART.fullmatch(os.path.basename(path))
    if part and int(part[2]) != 1:
        return None
    role = ggufs.classify(path).role
    return role if role != "adapter" else None


def _unreadable(files: Sequence[str], folder: str) -> Error | None:
    """What is wrong with a folder whose weights are pickles, or in Mistral's or Meta's own format; None for any other folder."""
    from modelbuild.checkpoint import shards

    if not any(name.endswith(_WEIGHTS) and name.startswith(("pytorch_model", "consolidated")) for name in files):
        return None
    try:
        shards.weights(files, None, folder)
    except Error as error:
        return error
    return None

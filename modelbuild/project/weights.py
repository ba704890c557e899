"""Weights as a project of one model: a checkpoint's folder, or a GGUF file, that a command line names."""

from __future__ import annotations

import os
import re

from modelbuild.project.discovery import MODEL
from modelbuild.project.toml import Toml

_PART = r"-\d{5}-of-\d{5}$"
_CACHED = r"models--.+?--(.+)"


def adopt(file: str, declared: Toml, *, is_named: bool) -> Toml:
    """Declare the one model of a folder or a GGUF file, named after it. Raises Error where that makes no name.

    A model that is named otherwise (`is_named`) may stand in a folder whose name makes no name.
    """
    name = name_after(file)
    if not is_named and not MODEL.fullmatch(name):
        hint = f"-t names it: -t {re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.') or 'NAME'}"
        what = f"'{name}' would be the model's name, but is not a valid name"
        raise declared.top.error(what, hint=hint)
    return declared._replace(document={"model": {name: {"from": file}}})


def name_after(path: str) -> str:
    """The model that weights make: the folder's name, the file's without `.gguf`, the repository's in the Hugging Face cache."""
    above, base = os.path.split(path)
    around, folder = os.path.split(above)
    cached = re.fullmatch(_CACHED, os.path.basename(around) if folder == "snapshots" else base)
    if cached:
        return cached[1]
    stem, suffix = os.path.splitext(base)
    return re.sub(_PART, "", stem) if suffix.lower() == ".gguf" else base

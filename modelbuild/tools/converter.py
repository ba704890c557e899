"""llama.cpp's convert_hf_to_gguf.py: the model of a checkpoint folder, of whatever class it knows.

Source: llama.cpp convert_hf_to_gguf.py (parse_args), conversion/base.py (ModelBase.prepare_tensors)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild import tools
from modelbuild.tools import Closure, Entries, Needs, Read, Sizes, _closure, _model

VERSION = 1
TITLE = "llama.cpp's converter"
SCRIPT = True
OUTPUT = "model.gguf"

NAME = "convert_hf_to_gguf.py"

_PYTHON = 1 << 30
"""Bytes of memory that torch and transformers take before they have read anything."""


def closure(folder: str, entries: Entries) -> Closure:
    return _closure.of_script(folder, entries, NAME)


def arguments(options: Mapping[str, Any], roles: Sequence[str]) -> list[str]:
    """options: `folder`, the name of the checkpoint's folder, from which a model without a better name takes its own; `outtype`."""
    return [
        f"./{options['folder']}",
        "--outfile",
        tools.beside(f"{tools.MADE}/{OUTPUT}"),
        "--outtype",
        options["outtype"],
    ]


def needs(options: Mapping[str, Any], sizes: Sizes) -> Needs:
    """The file is as large as the weights (of f32 half, to f32 up to twice), and each tensor is held as f32 while it is written."""
    widened = 2 if options["outtype"] == "f32" else 1
    return Needs(_PYTHON + 4 * sizes.largest, widened * sizes.inputs + (64 << 20))


def read(path: str, said: str) -> Read:
    return _model.read(path)

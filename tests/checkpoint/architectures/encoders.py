"""What the tests of encoders have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo


def changed(case: zoo.Case, changes: Mapping[str, Any]) -> zoo.Case:
    """A case whose configuration has other values; `...` takes a key away."""
    return replace(case, config={key: value for key, value in {**case.config, **changes}.items() if value is not ...})


def conversion(folder: Path, case: zoo.Case) -> Conversion:
    return Conversion(recipes.Folder(zoo.write(folder, case)), folder="m", outtype="auto", pre=case.pre)


def metadata(folder: Path, case: zoo.Case) -> dict[str, Any]:
    """The metadata but the vocabulary's lists."""
    found = recipes.converted(zoo.write(folder, case), pre=case.pre).metadata
    return {key: decode_value(value) for key, value in found.items() if len(value) < 1000}


def faults(folder: Path, case: zoo.Case) -> str:
    return "\n".join(map(str, conversion(folder, case).faults()))

"""Steps: what an action runs, one file a kind. A step sees its parameters and its inputs and nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def module(kind: str) -> Any:
    """The module of a step kind: `convert` is convert.py, `import`, which Python has taken, is importing.py."""
    return import_module("modelbuild.steps." + ("importing" if kind == "import" else kind))

"""Have a program of the user's own make a file: a conversion, an importance matrix, a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from modelbuild.steps._inputs import BlobInputs

if TYPE_CHECKING:
    from modelbuild.engine.action import Made

VERSION = 1
MAKES = "foreign"
POOL = "cores"


class Parameters(TypedDict, total=False):
    """What decides what a tool makes, besides its files and what it reads.

    tool     its name, one of modelbuild.tools
    version  how we run and read it
    options  what it is started with
    answer   what its interpreter says of itself: versions of Python, the platform and the packages that it may import
    """

    tool: str
    version: int
    options: Mapping[str, Any]
    answer: Mapping[str, str] | None


def run(parameters: Parameters, inputs: BlobInputs) -> Made:
    """Run it. The roles of the inputs are paths in the folders that it sees (see modelbuild.tools)."""
    return inputs.program(parameters["tool"], parameters["options"])

"""Let a model through, or say how far it falls short of what its project asks for."""

from __future__ import annotations

import json
from typing import TypedDict

from modelbuild.digest import canonical
from modelbuild.errors import Error, FellShort
from modelbuild.steps._inputs import Inputs

VERSION = 1
MAKES = "verdict"
POOL = ""


class Parameters(TypedDict):
    """kld  the largest mean divergence, in nats, that is let through"""

    kld: float


def run(parameters: Parameters, inputs: Inputs) -> bytes:
    """Read the figures in the role `figures`, as tools/divergence.py gives them."""
    try:
        figures = json.loads(inputs.artifact("figures"))
        found = float(figures["kld"])
    except (ValueError, LookupError, TypeError):
        raise Error("the figures of the comparison cannot be read") from None
    if not found <= parameters["kld"]:
        raise FellShort(
            f"the model falls short: its divergence is {found:g}, expected at most {parameters['kld']:g}",
            parameter=("kld",),
            hint="quantize it to a larger type or with an importance matrix of a fitting text, or raise 'kld'",
        )
    return canonical({"kld": found})

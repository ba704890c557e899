"""Gates of the variants of a project: how far a model may differ from its weights, and how far it does, where that was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelbuild.engine.graph import Output
from modelbuild.engine.standing import Standing
from modelbuild.engine.store import Damaged
from modelbuild.plan import planned
from modelbuild.session.session import Session
from modelbuild.tuples import NamedTuple


class Verdict(NamedTuple):
    """What a gate says of a model as it is declared now.

    kld         the largest mean divergence that is let through, in nats
    divergence  the measured one; None where the model was not measured as it is now
    """

    kld: float
    divergence: float | None

    @property
    def word(self) -> str:
        if self.divergence is None:
            return "not measured"
        return "passed" if self.divergence <= self.kld else "fell short"

    @property
    def short(self) -> str:
        """The verdict and the figure that it follows from."""
        return self.word if self.divergence is None else f"{self.word} ({self.divergence:g})"

    @property
    def said(self) -> str:
        """How far the model falls short; "" where it does not."""
        if self.word != "fell short":
            return ""
        return f"its divergence is {self.divergence:g}, expected at most {self.kld:g}"

    def data(self) -> dict[str, Any]:
        return {**self._asdict(), "verdict": self.word}


def verdict(session: Session, output: Output, standing: Standing | None = None) -> Verdict | None:
    """What the gate of a variant says of it; None where it has none. `standing`: how its graph stands, where that is known already."""
    gate = planned.gate_step(session.graph, output)
    if gate is None:
        return None
    found = figures(session, output, standing)
    return Verdict(json.loads(gate.parameters)["kld"], float(found["kld"]) if found and "kld" in found else None)


def figures(session: Session, output: Output, standing: Standing | None = None) -> Mapping[str, float] | None:
    """The figures of a model by which a gate judges it; None where none was asked for, or they are not made."""
    gate = planned.gate_step(session.graph, output)
    name = next(gate.needs, None) if gate is not None else None
    if name is None:
        return None
    made = (standing or session.standing(session.graph.up_to([name]))).results.get(name)
    try:
        value: Mapping[str, float] | None = json.loads(session.store.read(made.artifact)) if made else None
    except (Damaged, ValueError):
        return None
    return value

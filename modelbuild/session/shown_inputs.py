"""The inputs of a step as pictures show them: of the files that a tool consists of, the one that is started stands for all."""

from __future__ import annotations

from modelbuild import tools
from modelbuild.engine.graph import Source, Step
from modelbuild.tuples import NamedTuple


class Shown(NamedTuple):
    """An input: a source, or the name of a step; `others`: how many more files of the tool it stands for."""

    ref: Source | str
    others: int = 0

    def label(self, path: str) -> str:
        """A path with the number of the others."""
        return f"{path} and {self.others:,} more of the tool" if self.others else path


def of(step: Step) -> list[Shown]:
    """The inputs in the order of the step, whose tool's main file is the first of its files (plan/foreign.py)."""
    own = [ref for role, ref in step.inputs if role.startswith(f"{tools.PROGRAM}/")]
    others = [Shown(ref) for role, ref in step.inputs if not role.startswith(f"{tools.PROGRAM}/")]
    return [*([Shown(own[0], len(own) - 1)] if own else []), *others]

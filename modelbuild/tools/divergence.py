"""llama-perplexity --kl-divergence: how far what a model foretells lies from what its weights did before quantization.

Source: llama.cpp tools/perplexity/perplexity.cpp (kl_divergence)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild import tools
from modelbuild.digest import canonical
from modelbuild.errors import Error
from modelbuild.tools import Closure, Entries, Needs, Read, Sizes, logits

VERSION = 1
TITLE = "llama-perplexity"
SCRIPT = False
OUTPUT = ""

_BEGUN = "kl_divergence: computing over"
_NOT_FINITE = re.compile(r"^Mean +KLD: +-?(nan|inf)", re.MULTILINE)
_NUMBER = r"\s*(-?\d+\.\d+|-?nan|-?inf)"
_FIGURES = {
    "kld": re.compile(r"^Mean +KLD:" + _NUMBER, re.MULTILINE),
    "kld_max": re.compile(r"^Maximum KLD:" + _NUMBER, re.MULTILINE),
    "kld_median": re.compile(r"^Median +KLD:" + _NUMBER, re.MULTILINE),
    "same_top": re.compile(r"^Same top p:" + _NUMBER, re.MULTILINE),
    "perplexity": re.compile(r"^Mean PPL\(Q\) +:" + _NUMBER, re.MULTILINE),
    "perplexity_base": re.compile(r"^Mean PPL\(base\) +:" + _NUMBER, re.MULTILINE),
}
"""Figure -> the line that says it."""


def closure(folder: str, entries: Entries) -> Closure:
    return logits.closure(folder, entries)


def arguments(options: Mapping[str, Any], roles: Sequence[str]) -> list[str]:
    model, base = tools.beside(f"{tools.MODEL}/model.gguf"), tools.beside(f"{tools.BASE}/{logits.OUTPUT}")
    return ["-m", model, "--kl-divergence-base", base, "--kl-divergence"]


def needs(options: Mapping[str, Any], sizes: Sizes) -> Needs:
    return Needs((1 << 30), 1 << 20)


def read(path: str, said: str) -> Read:
    """The figures, as a JSON object: divergences in nats, `same_top` in percent."""
    found: dict[str, float] = {}
    for name, pattern in _FIGURES.items():
        matches = pattern.findall(said)
        if matches and math.isfinite(value := float(matches[-1])):
            found[name] = value
    if "kld" not in found:
        # A thread of its own writes what the program says, which leaves it when it ends (common/log.cpp, common_log_main).
        if _BEGUN in said and not _NOT_FINITE.search(said):
            raise tools.Cut
        raise Error("it said no finite divergence", hint="take a longer text: it needs at least 100 tokens to compare")
    return Read(answer=canonical(found))

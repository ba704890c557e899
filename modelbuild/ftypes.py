"""The whole-file mixes of `llama-quantize`: which names there are, how they are spelled, and which can be built today."""

from __future__ import annotations

import difflib

AVAILABLE = ("f32", "f16", "bf16", "q8_0", "q4_K_S", "q4_K_M", "q6_K")

KNOWN = (
    *("f32", "f16", "bf16", "q8_0", "q6_K", "q5_K_M", "q5_K_S", "q5_1", "q5_0", "q4_K_M", "q4_K_S", "q4_1", "q4_0"),
    *("q3_K_L", "q3_K_M", "q3_K_S", "q2_K", "q2_K_S", "iq4_nl", "iq4_xs", "tq1_0", "tq2_0", "mxfp4_moe"),
)

TENSOR_TYPES = (
    *("f32", "f16", "bf16", "q8_0", "q6_K", "q5_K", "q5_1", "q5_0", "q4_K", "q4_1", "q4_0", "q3_K", "q2_K"),
    *("iq4_nl", "iq4_xs", "tq1_0", "tq2_0", "mxfp4"),
)
"""What a rule of a mix of one's own may ask for."""

_ALIASES = {"q3_k": "q3_K_M", "q4_k": "q4_K_M", "q5_k": "q5_K_M"}
_SPELLINGS = {name.casefold(): name for name in KNOWN} | _ALIASES
_TENSOR_SPELLINGS = {name.casefold(): name for name in TENSOR_TYPES}
_COMMON = ("q4_K_M", "q5_K_M", "q3_K_M", "q8_0", "q6_K", "f16")


def canonical(name: str) -> str | None:
    """Spell an ftype as everything else here does, whatever its case; None for a name that llama.cpp doesn't know."""
    return _SPELLINGS.get(name.casefold())


def canonical_tensor_type(name: str) -> str | None:
    return _TENSOR_SPELLINGS.get(name.casefold())


def nearest(name: str) -> str | None:
    """The known ftype that a misspelled one means; of several equally near ones the commonest."""
    folded = name.casefold()
    ranked = [*_COMMON, *(known for known in KNOWN if known not in _COMMON)]
    ratios = {known: difflib.SequenceMatcher(None, folded, known.casefold()).ratio() for known in ranked}
    best = max(ranked, key=ratios.__getitem__)
    return best if ratios[best] >= 0.5 else None

"""File types: the whole-file mixes of llama.cpp, which quant each tensor of a file gets, and the names people write."""

from __future__ import annotations

FTYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_K": 10, "q3_K_S": 11, "q3_K_M": 12,
    "q3_K_L": 13, "q4_K_S": 14, "q4_K_M": 15, "q5_K_S": 16, "q5_K_M": 17, "q6_K": 18, "q2_K_S": 21, "iq4_nl": 25,
    "iq4_xs": 30, "bf16": 32, "tq1_0": 36, "tq2_0": 37, "mxfp4_moe": 38,
}  # fmt: skip
"""Canonical spelling -> `general.file_type` (llama.h, enum llama_ftype)."""

ALIASES = {"q3_k": "q3_K_M", "q4_k": "q4_K_M", "q5_k": "q5_K_M"}

KNOWN = tuple(FTYPES)
AVAILABLE = ("f32", "f16", "bf16", "q8_0", "q4_K_S", "q4_K_M", "q6_K")

_BY_FOLD = {name.lower(): name for name in KNOWN} | ALIASES


def canonical(name: str) -> str | None:
    """The spelling DESIGN uses for an ftype in any case, or None for a word that is none."""
    return _BY_FOLD.get(name.lower())

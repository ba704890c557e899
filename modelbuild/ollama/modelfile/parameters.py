"""Parameters: which there are, and what Ollama makes of the text of each."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from modelbuild import words
from modelbuild.errors import Error
from modelbuild.ollama.modelfile.source import short
from modelbuild.words import did_you_mean

PARAMETERS = {
    **dict.fromkeys(
        ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict", "num_keep", "seed",
         "num_predict", "top_k", "repeat_last_n"), "int"),
    **dict.fromkeys(
        ("top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"),
        "float"),
    "use_mmap": "bool",
    "stop": "strings",
}  # fmt: skip
"""Parameter -> the type of its value (Ollama's api/types.go, Options and Runner)."""

DEPRECATED = frozenset(
    ("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "mirostat", "mirostat_tau",
     "mirostat_eta")
)  # fmt: skip
"""Accepted and dropped by Ollama (parser/parser.go, deprecatedParameters)."""

GONE = frozenset(("numa", "num_gqa", "rope_frequency_base", "rope_frequency_scale", "tfs_z"))
"""Known to older versions of Ollama, an error in today's."""


_INT = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = r"[+-]?[0-9_]*\.?[0-9_]*(?:[eE][+-]?[0-9_]+)?"
_HEX = r"[+-]?0[xX](?:_?[0-9a-fA-F])*\.?(?:[0-9a-fA-F](?:_?[0-9a-fA-F])*)?[pP][+-]?[0-9]{1,9}"
_NOT_FINITE = r"(?i:[+-]?inf(?:inity)?|nan)"
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def parameter(name: str, value: object) -> Any:
    """Turn a parameter's text, or a value of TOML, into what its layer holds. Raises Error without a place.

    An int is rounded as float64 rounds it, a float as float32 (api/types.go, FormatParams, and JSON on the way).
    """
    kind = PARAMETERS.get(name)
    if kind is None:
        raise unknown_parameter(name)
    read = {"int": _int, "float": _float, "bool": _bool, "strings": _strings}[kind]
    try:
        return read(value)
    except ValueError as fault:
        if kind == "strings" and isinstance(value, list):
            value = next(item for item in value if not isinstance(item, str))
        got = f"'{short(value)}'" if isinstance(value, str) else words.got(value)
        commented = isinstance(value, str) and "#" in value
        raise Error(
            f"parameter '{name}' expects {fault}, got {got}",
            hint="put a comment on its own line" if commented else None,
        ) from None


def unknown_parameter(name: str) -> Error:
    """What to say of a parameter that Ollama does not take."""
    if name in GONE:
        return Error(f"parameter '{name}' was removed: today's Ollama refuses it", hint="remove the line")
    if name in DEPRECATED:
        return Error(f"parameter '{name}' is deprecated: Ollama drops it")
    return Error(
        f"unknown parameter '{name}'", facts=[("known", ", ".join(sorted(PARAMETERS)))],
        hint=did_you_mean(name, PARAMETERS),
    )  # fmt: skip


def _int(value: object) -> int:
    if isinstance(value, str) and _INT.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError("a whole number of 64 bits")
    # Past 2**53 Go prints the shortest digits that mean the same float64, then zeros, as repr does.
    digits, _, power = repr(float(value)).partition("e+")
    if not power:
        return int(float(value))
    whole, _, fraction = digits.partition(".")
    return int(whole + fraction + "0" * (int(power) - len(fraction)))


def _float(value: object) -> float:
    if isinstance(value, str):
        if re.fullmatch(_NOT_FINITE, value):
            raise ValueError("a finite number")
        if re.fullmatch(_HEX, value) or re.fullmatch(_DECIMAL, value):
            try:
                value = float.fromhex(value.replace("_", "")) if "x" in value.lower() else float(value)
            except OverflowError:
                raise ValueError("a number that fits float32") from None
            except ValueError:
                raise ValueError("a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")
    return float32(value)


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise ValueError("'true' or 'false'")


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    raise ValueError("text, or a list of texts")


def float32(value: float) -> float:
    """The shortest decimal that float32 cannot tell from `value`, as Go prints it. Raises ValueError past its range."""
    near = _single(value)
    if math.isinf(near):
        raise ValueError("a number that fits float32")
    for digits in range(1, 9):
        # Above a power of two the floats lie twice as far apart as below, so a decimal above may be shorter.
        for aim in (near, near * (1 + 2**-25)):
            short = float(f"{aim:.{digits}g}")
            if _single(short) == near:
                return short
    return float(f"{near:.9g}")


def _single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except (OverflowError, struct.error):
        return math.inf

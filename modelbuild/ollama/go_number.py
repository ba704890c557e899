"""Numbers as Go templates take them (text/template/parse, lexNumber and newNumber; strconv, ParseInt, ParseUint and ParseFloat)."""

from __future__ import annotations

import math
import re

_SCAN = (
    r"[+-]?(?:0[xX][0-9a-fA-F_]*+\.?[0-9a-fA-F_]*+(?:[pP][+-]?[0-9_]*+)?|0[oO][0-7_]*+\.?[0-7_]*+|0[bB][01_]*+\.?[01_]*+"
    r"|[0-9_]*+\.?[0-9_]*+(?:[eE][+-]?[0-9_]*+)?)i?"
)
"""What lexNumber takes for one number, right or not."""
_INT = r"([+-]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)"
_FLOAT = r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]+)?"
_HEX_FLOAT = r"[+-]?0[xX](?:[0-9a-fA-F]++\.?[0-9a-fA-F]*+|\.[0-9a-fA-F]++)[pP][+-]?[0-9]{1,9}"
_DIGITS_LIMIT = 4000
"""Of a whole number that Python reads quickly; Go refuses those of more than 64 bits."""


def is_number(text: str) -> bool:
    """Whether a word of a template that begins as a number is one."""
    first = re.match(_SCAN, text)
    assert first is not None, "it may match nothing"
    rest = text[first.end() :]
    if rest:  # 1+2i
        imaginary = rest[:1] in ("+", "-") and rest[-1:] == "i" and re.fullmatch(_SCAN, rest) is not None
        return imaginary and _is_float(first[0]) and _is_float(rest[:-1])
    if text[-1:] == "i":
        return _is_float(text[:-1])
    return _is_int(text) or (_is_float(text) and re.search("[.eEpP]", text) is not None)


def _is_int(text: str) -> bool:
    match = (
        re.fullmatch(_INT, text.replace("_", ""))
        if _underscores_are_right(text) and len(text) < _DIGITS_LIMIT
        else None
    )
    if match is None:
        return False
    sign, digits = match.groups()
    value = int(digits, 8 if re.fullmatch("0[0-7]+", digits) else 0)
    least_signed, past_unsigned = 1 << 63, 1 << 64
    return value < past_unsigned if not sign else value < least_signed or (sign == "-" and value == least_signed)


def _is_float(text: str) -> bool:
    """Whether ParseFloat takes it: it is well-formed, and no larger than a float64 can be."""
    if not _underscores_are_right(text):
        return False
    plain = text.replace("_", "")
    try:
        if re.fullmatch(_HEX_FLOAT, plain):
            return math.isfinite(float.fromhex(plain))
        return re.fullmatch(_FLOAT, plain) is not None and math.isfinite(float(plain))
    except OverflowError:
        return False


def _underscores_are_right(text: str) -> bool:
    """Whether each stands between digits, or between the sign of a base and a digit (strconv, underscoreOK)."""
    if "_" not in text:
        return True
    digit = "[0-9a-fA-F]" if re.match("[+-]?0[xX]", text) else "[0-9]"
    body = re.sub("^[+-]?0[xXbBoO]", "0", text)
    return re.search(f"(?<!{digit})_|_(?!{digit})", body) is None

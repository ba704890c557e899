"""JSON as Go's encoding/json writes it, byte for byte, and as it reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from modelbuild.errors import Error
from modelbuild.files import LARGEST

_ESCAPES = {
    **{chr(code): f"\\u{code:04x}" for code in range(0x20)},
    "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\",
    "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029",
}  # fmt: skip
_ESCAPED = re.compile('[\0-\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')


def encode_json(value: Any, *, sort_maps: bool = False) -> bytes:
    """Spell a value as Go's json.Encoder does, final line feed included (encoding/json/encode.go).

    sort_maps  order the keys by bytes, as Go orders a map's; a struct's keep their order
    A float is a float64. Raises ValueError for one that is not finite, TypeError for what JSON has no form for.
    """
    parts: list[str] = []
    _write(value, sort_maps, parts.append)
    parts.append("\n")
    return "".join(parts).encode()


def _write(value: Any, sort_maps: bool, out: Callable[[str], None]) -> None:
    if isinstance(value, str):
        out(_string(value))
    elif value is None or isinstance(value, bool):
        out({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, int):
        out(str(value))
    elif isinstance(value, float):
        out(_number(value))
    elif isinstance(value, Mapping):
        mark = "{"
        for key in sorted(value) if sort_maps else value:
            out(mark + _string(key) + ":")
            _write(value[key], sort_maps, out)
            mark = ","
        out("{}" if mark == "{" else "}")
    elif isinstance(value, list | tuple):
        mark = "["
        for item in value:
            out(mark)
            _write(item, sort_maps, out)
            mark = ","
        out("[]" if mark == "[" else "]")
    else:
        raise TypeError(f"no JSON for {type(value).__name__}")


def _string(text: str) -> str:
    # A lone surrogate is what Go would have decoded to U+FFFD on the way in.
    return '"' + _ESCAPED.sub(lambda match: _ESCAPES.get(match[0], "\ufffd"), text) + '"'


def _number(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"no JSON for {value}")
    digits, _, power = repr(abs(value)).partition("e")
    sign = "-" if str(value).startswith("-") else ""
    whole, _, fraction = digits.partition(".")
    exponent = int(power or 0) - len(fraction)
    digits = (whole + fraction).lstrip("0")
    shown = digits.rstrip("0")
    exponent += len(digits) - len(shown)
    if not shown:
        return sign + "0"
    if not 1e-6 <= abs(value) < 1e21:
        exponent += len(shown) - 1
        point = "." if len(shown) > 1 else ""
        return f"{sign}{shown[0]}{point}{shown[1:]}e{'-' if exponent < 0 else '+'}{abs(exponent)}"
    if exponent >= 0:
        return sign + shown + "0" * exponent
    if -exponent >= len(shown):
        return f"{sign}0.{shown:0>{-exponent}}"
    return f"{sign}{shown[:exponent]}.{shown[exponent:]}"


def parse_object(data: bytes, what: str, path: str | None) -> dict[str, Any]:
    """Read an object that anyone may have written. A number is the float64 that Go makes of it, an int where that is one in short.

    what  is said of it in errors
    Raises Error, also for a number past float64 and for more bytes than files.LARGEST.
    """
    if len(data) > LARGEST:
        raise Error(f"{what} has {len(data)} bytes, expected at most {LARGEST}", path=path)
    try:
        value = json.loads(data.decode(), parse_int=_float64, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as fault:
        raise Error(f"{what} is not JSON: {_reason(fault)}", path=path) from None
    if not isinstance(value, dict):
        raise Error(f"{what} is not a JSON object", path=path)
    return value


def _reason(fault: ValueError | RecursionError) -> str:
    if isinstance(fault, RecursionError):
        return "nested too deeply"
    if isinstance(fault, json.JSONDecodeError):
        return f"{fault.msg.lower().removesuffix(' at')} at byte {fault.pos}"
    return "not UTF-8" if isinstance(fault, UnicodeDecodeError) else str(fault)


def _float64(digits: str) -> int | float:
    return int(digits) if len(digits) < 16 and digits != "-0" else _finite(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if value - value != 0:
        raise ValueError(f"number out of range: {digits[:40]}")
    return value

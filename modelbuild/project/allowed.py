"""What the value of a key may be: each function gives a value as it counts, or raises Error without a place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from modelbuild.errors import Error
from modelbuild.ollama.modelfile import grammar, meaning
from modelbuild.words import as_text, did_you_mean, got, listed

ADAPTER_MODES = ("layer", "merge")
CONVERTERS = ("native", "llama.cpp")


def choice(value: Any, known: Sequence[str], noun: str) -> str:
    """One of a few words, in any case."""
    text = as_text(value)
    if text.casefold() in known:
        return text.casefold()
    raise Error(f"unknown {noun} {got(text)}", facts=[("known", listed(known))], hint=did_you_mean(text, known))


def optional(value: Any, known: Sequence[str], noun: str) -> str | None:
    """One of a few words, or "" for none of them."""
    return choice(value, known, noun) if value != "" else None


def flag(value: Any, key: str) -> bool:
    """True or false, or their names; "" is false."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False, "": False}
    if isinstance(value, str) and value in words:
        return words[value]
    raise Error(f"'{key}' expects true or false, got {got(value)}")


def adapter_mode(value: Any) -> str:
    return choice(value or "layer", ADAPTER_MODES, "adapter mode")


def adapter_scale(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Error(f"'scale' expects a number, got {got(value)}")
    if value == 0 or abs(value) > 1e9:
        raise Error(f"'scale' expects a number other than 0, got {got(value)}", hint="leave the adapter out")
    return float(value)


def adapter_zero(value: Any) -> bool:
    return flag(value, "allow_zero")


def role(value: Any) -> str:
    return choice(value, grammar.ROLES, "role")


def version(value: Any) -> str:
    """A version as REQUIRES takes it, without its leading `v`; "" clears."""
    text = as_text(value)
    try:
        return meaning.version(text) if text else ""
    except Error:
        raise Error(f"'requires' expects a version such as '0.14.0', got {got(text)}") from None


def converter(value: Any) -> str:
    return choice(value, CONVERTERS, "converter")


def chunks(value: Any) -> int | None:
    """How many pieces of a text are read; "" for all."""
    if value == "":
        return None
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else value
    if isinstance(number, bool) or not isinstance(number, int | float) or number != int(number) or not 0 < number < 1e6:
        raise Error(f"'chunks' expects a whole number of at least 1, got {got(value)}")
    return int(number)


def divergence(value: Any) -> float | None:
    """The largest mean divergence that is let through, in nats; "" for any."""
    if value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 100:
        raise Error(f"'kld' expects a number of nats above 0, such as 0.05, got {got(value)}")
    return float(value)

"""Custom mixes: the tables `[ftype.NAME]`, checked and in one form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from modelbuild.errors import Error, Problems
from modelbuild.project.allowed import flag
from modelbuild.project.keys import Check
from modelbuild.project.locate import Place
from modelbuild.project.overlay import Said
from modelbuild.project.variables import Scope, filled
from modelbuild.tensors import ftypes, quants
from modelbuild.words import as_text, did_you_mean, got, listed


def base(value: Any) -> str:
    """The canonical ftype that a mix starts from. Raises Error, without a place."""
    text = as_text(value)
    spelling = ftypes.canonical(text)
    if spelling is None:
        error = ftypes.unknown(text)
        raise error.replace(hint=error.hint or "a mix starts from a type of llama.cpp")
    return spelling


def tensor_type(value: Any) -> str:
    """The quant of a tensor, as `quants.get` knows it. Raises Error, without a place."""
    text = as_text(value)
    quant = text.casefold()
    if error := ftypes.not_yet(text):
        raise error.replace(hint=None)
    if quant not in quants.names():
        hint = did_you_mean(text, quants.names())
        if whole := ftypes.canonical(text):
            hint = f"'{text}' is a type for whole files, whose tensors are mostly '{ftypes.default_quant(whole)}'"
        raise Error(f"unknown tensor type {got(text)}", facts=[("known", listed(quants.names(), 30))], hint=hint)
    return quant


def optional_tensor_type(value: Any) -> str | None:
    return tensor_type(value) if value != "" else None


def check_pattern(text: str) -> None:
    """Raise Error, without a place, for what is not a regular expression."""
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as fault:
        raise Error(f"'{text}' is not a regular expression: {fault}") from None


def names(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the mixes that a ModelBuild.toml makes, in its order."""
    return tuple(name for name in document.get("ftype", {}) if not ftypes.canonical(name))


_CHECKS: Mapping[str, Check] = {
    "base": base,
    "tensors": tensor_type,
    "pure": partial(flag, key="pure"),
    "output_tensor_type": optional_tensor_type,
    "token_embedding_type": optional_tensor_type,
    "leave_output_tensor": partial(flag, key="leave_output_tensor"),
}
"""Key of a mix -> what gives its value (of `tensors`: each of them) as it counts, or raises Error without a place."""


def read(tables: Mapping[str, Any], root: Place, scope: Scope, problems: Problems) -> dict[str, Said]:
    """Fill in and check the mixes of a document that schema.check has passed; what is wrong with one goes to its part of `problems`.

    The value of each is {"base": ftype, "tensors": [[pattern, quant], …], "pure": true, "output_tensor_type": quant,
    "token_embedding_type": quant, "leave_output_tensor": true}, without the keys that say nothing.
    """

    mixes = {}
    for name, table in tables.items():
        here, own = root.at("ftype", name), problems.of(name)
        rules = table.get("tensors", {})
        value: dict[str, Any] = {}
        for key, check in _CHECKS.items():
            found: Any = None
            if key == "tensors":
                found = [
                    [each, _settled(quant, here.at(key, each), check, scope, own)] for each, quant in rules.items()
                ]
            elif key in table:
                found = _settled(table[key], here.at(key), check, scope, own)
            if found:
                value[key] = found
        if rules and value.get("base") in ftypes.FLOATS:
            what = f"'tensors' has no effect: with base '{value['base']}' every tensor becomes {value['base']}"
            hint = "start from a quantized base, and name the tensors to keep: '.*' = \"f16\""
            own.add(here.at("tensors").error(what, hint=hint, value=False))
        mixes[name] = Said(value, here)
    return mixes


def _settled(value: Any, place: Place, check: Check, scope: Scope, problems: Problems) -> Any:
    with problems.at(place):
        return check(filled(value, scope))
    return None

"""`${name}`, `${matrix.AXIS}` and `${matrix.AXIS.value}` in the strings of a ModelBuild.toml."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple
from modelbuild.words import as_text, did_you_mean, got, listed

Scalar = str | int | float | bool
Scope = Mapping[str, Scalar]
"""What may be named: `ctx`, `matrix.base`, `matrix.base.value`."""

LENGTH_LIMIT = 1 << 20
"""Characters of a text whose variables are filled in."""
CHAIN_LIMIT = 100
"""How many variables refer to one another in a row."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
AXIS = re.compile(r"[A-Za-z0-9_-]+")

_ESCAPE_OR_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([^{}\n]*)\})?")
_REFERENCE = re.compile(rf"{NAME.pattern}|matrix\.{AXIS.pattern}(?:\.value)?")


class Reference(NamedTuple):
    name: str


@lru_cache(maxsize=4096)
def parts(text: str) -> tuple[str | Reference, ...]:
    """Split a string at its references; `$${` stands for `${`. Raises Error, without a place, for a malformed one."""
    found: list[str | Reference] = []
    literal, at = "", 0
    for match in _ESCAPE_OR_REFERENCE.finditer(text):
        literal += text[at : match.start()]
        at = match.end()
        name = match.group(1)
        if match.group() == "$${":
            literal += "${"
            continue
        if name is None:
            raise Error("'${' has no closing '}'", hint="write '$${' for a literal '${'")
        if not _REFERENCE.fullmatch(name):
            what = f"'${{{name}}}': expected the name of a variable, 'matrix.AXIS' or 'matrix.AXIS.value'"
            raise Error(what, hint="write '$${' for a literal '${'")
        if literal:
            found.append(literal)
            literal = ""
        found.append(Reference(name))
    literal += text[at:]
    return (*found, literal) if literal else tuple(found)


def fill(text: str, scope: Scope) -> Scalar:
    """Replace the references; a text that is nothing but one takes its type. Raises Error, without a place."""
    if "${" not in text:
        return text
    pieces = parts(text)
    if len(pieces) == 1 and isinstance(pieces[0], Reference):
        return _look_up(pieces[0].name, scope)
    whole = "".join(piece if isinstance(piece, str) else as_text(_look_up(piece.name, scope)) for piece in pieces)
    if len(whole) > LENGTH_LIMIT:
        raise Error(f"the text has more than {LENGTH_LIMIT} characters once its variables are filled in")
    return whole


def filled(value: Any, scope: Scope) -> Any:
    """A value as it stands, or a string with its references replaced. Raises Error, without a place."""
    return fill(value, scope) if isinstance(value, str) else value


def has_references(value: object) -> bool:
    """Whether a value is a string in which a variable stands, or the sign for none."""
    return isinstance(value, str) and "${" in value


def typed(raw: str, default: Scalar) -> Scalar:
    """An overriding text in the type of the default. Raises Error, without a place."""
    expected = "true or false"
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "false": False, "0": False}[raw.lower()]
        if isinstance(default, int):
            expected = "a whole number"
            return int(raw)
        if isinstance(default, float):
            expected = "a number"
            if math.isfinite(value := float(raw)):
                return value
            raise ValueError
        expected = "Unicode text"
        raw.encode()
    except (ValueError, KeyError):
        hint = f"the type is that of its default, {got(default)}" if not isinstance(default, str) else None
        raise Error(
            f"expected {expected}, got {got(raw.encode('utf-8', 'backslashreplace').decode())}", hint=hint
        ) from None
    return raw


def settle(
    declared: Mapping[str, Scalar], given: Mapping[str, Scalar]
) -> tuple[dict[str, Scalar], list[tuple[str, Error]]]:
    """Fill in the variables that defaults refer to; what overrides a default is taken as it stands.

    Returns the values, and (name, error without a place) for those that cannot be settled, which count as "".
    """
    settled = {name: given.get(name, value) for name, value in declared.items()}
    waiting = {name: str(value) for name, value in declared.items() if name not in given and has_references(value)}
    errors: list[tuple[str, Error]] = []

    def ask(name: str, asking: tuple[str, ...]) -> None:
        try:
            if name in asking:
                raise Error(f"'{name}' refers to itself: {' -> '.join([*asking[asking.index(name) :], name])}")
            if len(asking) > CHAIN_LIMIT:
                raise Error(f"variables refer to one another more than {CHAIN_LIMIT} levels deep")
            for part in parts(waiting[name]):
                if isinstance(part, Reference) and part.name in waiting:
                    ask(part.name, (*asking, name))
            if name in waiting:
                settled[name] = fill(waiting[name], settled)
        except Error as error:
            errors.append((name, error))
            settled[name] = ""
        waiting.pop(name, None)

    for name in declared:
        if name in waiting:
            ask(name, ())
    return settled, errors


def unknown(name: str, known: Collection[str]) -> Error:
    """The error for a variable that [vars] does not declare."""
    if not known:
        return Error(f"unknown variable '{name}'", hint="variables are declared in [vars]")
    return Error(f"unknown variable '{name}'", facts=[("known", listed(known))], hint=did_you_mean(name, known))


def _look_up(name: str, scope: Scope) -> Scalar:
    if name in scope:
        return scope[name]
    if f"matrix.{name}" in scope:
        raise Error(f"unknown variable '{name}'", hint=f"the axis is ${{matrix.{name}}}")
    if not name.startswith("matrix."):
        raise unknown(name, [known for known in scope if not known.startswith("matrix.")])
    axis = name.split(".")[1]
    axes = [known.split(".")[1] for known in scope if known.startswith("matrix.") and not known.endswith(".value")]
    if not axes:
        raise Error(f"'${{{name}}}' needs a matrix")
    if axis in axes:
        raise Error(f"'${{{name}}}' is a table or a list, which cannot be part of a string")
    raise Error(f"the matrix has no axis '{axis}'", facts=[("axes", listed(axes))], hint=did_you_mean(axis, axes))

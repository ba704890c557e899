"""Challenges of a 401: the ways in that a server offers by its headers WWW-Authenticate (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from modelbuild.tuples import NamedTuple

LONGEST = 8192
"""Bytes of one header that are read; a real one has some hundred."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))', re.DOTALL)
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+|(?=,)|$)")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_GAP = re.compile(r"[ \t,]*")


class Challenge(NamedTuple):
    """One way in. Scheme and names of parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse(headers: Iterable[str]) -> list[Challenge]:
    """All challenges, in order. A header is read as far as it can be: what it says after a fault is left out."""
    return [each for header in headers for each in _parsed(header[:LONGEST])]


def _parsed(header: str) -> Iterator[Challenge]:
    at = _skipped(header, 0)
    while at < len(header):
        scheme = _SCHEME.match(header, at)
        if scheme is None:
            return
        at = scheme.end()
        if _PARAMETER.match(header, at) is None and (other := _TOKEN68.match(header, at)):
            # A single value, as of Negotiate; unless it is the next scheme, which has nothing before its comma.
            at = other.end() if scheme[0].endswith((" ", "\t")) else at
        parameters, at = _parameters(header, at)
        yield Challenge(scheme[1].lower(), parameters)


def _parameters(header: str, at: int) -> tuple[dict[str, str], int]:
    """The parameters from a place on, and where they end. The first of a name counts."""
    found: dict[str, str] = {}
    at = _skipped(header, at)
    while match := _PARAMETER.match(header, at):
        name, quoted, plain = match.groups()
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        found.setdefault(name.lower(), value)
        at = _skipped(header, match.end())
    return found, at


def _skipped(header: str, at: int) -> int:
    match = _GAP.match(header, at)
    return match.end() if match else at

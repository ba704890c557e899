"""The remote cache that a project names: where it is, and what is taken from it and sent there."""

from __future__ import annotations

from collections.abc import Sequence

from modelbuild.tuples import NamedTuple

MODES = ("both", "read", "write", "off")
"""What is done with a remote: results are taken from it and sent there, or one of both, or neither."""


class RemoteCache(NamedTuple):
    """What [cache] says.

    url      of the remote; "" where there is none
    mode     one of MODES
    foreign  whether what programs of the user's own made is shared too
    sign     the file of the key that signs what is sent, absolute or below ~; "" where nothing is signed
    trust    the public keys one of which must have signed what is taken
    """

    url: str = ""
    mode: str = MODES[0]
    foreign: bool = False
    sign: str = ""
    trust: tuple[str, ...] = ()

    @staticmethod
    def recalled(url: str, mode: str, foreign: bool, sign: str, trust: Sequence[str]) -> RemoteCache:
        return RemoteCache(url, mode, foreign, sign, tuple(trust))

"""The remote cache that a project names: where it is, and what is taken from it and sent there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modelbuild.project.texts import Texts
    from modelbuild.project.toml import Toml

_PUBLIC = re.compile("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}( |$)")
"""A public key as `ssh-keygen` writes it (RFC 8709): the name, and the base64 of 51 bytes."""

MODES = ("both", "read", "write", "off")
"""What is done with a remote: results are taken from it and sent there, or one of both, or neither."""


class RemoteCache(NamedTuple):
    """What [cache] says.

    url      of the remote; "" where there is none
    mode     one of MODES
    foreign  whether what programs of the user's own made is shared too
    sign     the file of the key that signs what is sent, absolute; "" where nothing is signed
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


def read(declared: Toml, texts: Texts) -> RemoteCache:
    """The remote cache of [cache]. What is wrong goes to the text's problems."""
    table, here = declared.table("cache"), declared.top.at("cache")
    if not table:
        return RemoteCache()
    from modelbuild import remotes
    from modelbuild.errors import Error
    from modelbuild.files import expand
    from modelbuild.project import allowed
    from modelbuild.words import shown

    url = declared.string(table, "remote", here)
    mode, foreign = MODES[0], False
    with declared.problems.at(here.at("mode")):
        mode = allowed.choice(declared.string(table, "mode", here) or mode, MODES, "mode of the cache")
    with declared.problems.at(here.at("foreign")):
        foreign = allowed.flag(table.get("foreign", False), "foreign")
    if url:
        with declared.problems.at(here.at("remote")):
            remotes.check(url)
    sign = declared.string(table, "sign", here)
    with declared.problems.at(here.at("sign")):
        sign = expand(sign, texts.root) if sign else ""
    trust = declared.strings(table.get("trust", []), here.at("trust"))
    for number, key in enumerate(trust):
        with declared.problems.at(here.at("trust", number)):
            if not _PUBLIC.match(key):
                hint = "write the line of the file that ends in .pub: `ssh-keygen -t ed25519` makes one"
                raise Error(f"expected a public key 'ssh-ed25519 …', got '{shown(key)}'", hint=hint)
    return RemoteCache(url, mode, foreign, sign, trust)

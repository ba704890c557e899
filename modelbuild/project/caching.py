"""The table [cache] of a project, read: where results are shared, and whom that is trusted."""

from __future__ import annotations

import re

from modelbuild.errors import Error
from modelbuild.files import expand
from modelbuild.project import allowed
from modelbuild.project.remote_cache import MODES, RemoteCache
from modelbuild.project.texts import Texts
from modelbuild.project.toml import Toml
from modelbuild.words import shown

_PUBLIC = re.compile("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}( |$)")
"""A public key as `ssh-keygen` writes it (RFC 8709): the name, and the base64 of 51 bytes."""


def read(declared: Toml, texts: Texts) -> RemoteCache:
    """The remote cache of [cache]. What is wrong goes to the text's problems."""
    table, here = declared.table("cache"), declared.top.at("cache")
    if not table:
        return RemoteCache()
    from modelbuild import remotes

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
    with declared.problems.at(here.at("trust")):
        if not trust and "trust" in table:
            raise Error("trust names no key, which would let in all", hint="name a key, or leave trust out")
    for number, key in enumerate(trust):
        with declared.problems.at(here.at("trust", number)):
            if not _PUBLIC.match(key):
                hint = "write the line of the file that ends in .pub: `ssh-keygen -t ed25519` makes one"
                raise Error(f"expected a public key 'ssh-ed25519 …', got '{shown(key)}'", hint=hint)
    return RemoteCache(url, mode, foreign, sign, trust)

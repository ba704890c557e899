"""The remote cache that a project names: where it is, and what is taken from it and sent there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modelbuild.project.toml import Toml

MODES = ("both", "read", "write", "off")
"""What is done with a remote: results are taken from it and sent there, or one of both, or neither."""


class RemoteCache(NamedTuple):
    """What [cache] says.

    url      of the remote; "" where there is none
    mode     one of MODES
    foreign  whether what programs of the user's own made is shared too
    """

    url: str = ""
    mode: str = MODES[0]
    foreign: bool = False


def read(declared: Toml) -> RemoteCache:
    """The remote cache of [cache]. What is wrong goes to the text's problems."""
    table, here = declared.table("cache"), declared.top.at("cache")
    if not table:
        return RemoteCache()
    from modelbuild import remotes
    from modelbuild.project import allowed

    url = declared.string(table, "remote", here)
    mode, foreign = MODES[0], False
    with declared.problems.at(here.at("mode")):
        mode = allowed.choice(declared.string(table, "mode", here) or mode, MODES, "mode of the cache")
    with declared.problems.at(here.at("foreign")):
        foreign = allowed.flag(table.get("foreign", False), "foreign")
    if url:
        with declared.problems.at(here.at("remote")):
            remotes.check(url)
    return RemoteCache(url, mode, foreign)

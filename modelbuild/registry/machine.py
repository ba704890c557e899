"""What this machine knows of registries, for all tools: private roots in `certs.d`, and which are `insecure` by `registries.conf`.

Sources: Docker, "Use certificates with Docker registries"; containers/image, containers-certs.d(5) and containers-registries.conf(5).
"""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Iterator
from functools import cache

from modelbuild.errors import Error
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.registry.origin import PORTS, Origin

CERTS = ("~/.config/containers/certs.d", "/etc/containers/certs.d", "~/.docker/certs.d", "/etc/docker/certs.d")
"""Folders with a folder for each host, `HOST` or `HOST:PORT`, with its roots in `*.crt`."""

CONF = ("~/.config/containers/registries.conf", "/etc/containers/registries.conf")
"""The first that is there counts, and what lies in the folder `registries.conf.d` beside each."""

_MENDED = "podman and skopeo read it too: correct it, or move it away"


def roots(origin: Origin) -> tuple[str, ...]:
    """The files of certificates that are trusted for a host, besides those of the system. Raises Error for what is not a file."""
    found = []
    for folder in CERTS:
        for name in _spellings(origin):
            path = os.path.join(os.path.expanduser(folder), name)
            if os.path.isdir(path):
                found += [os.path.join(path, each) for each in sorted(os.listdir(path)) if each.endswith(".crt")]
    for file in found:
        # OpenSSL would wait for a pipe.
        if os.path.exists(file) and not os.path.isfile(file):
            raise Error("cannot be read: not a regular file", path=file, hint="expected a PEM file")
    return tuple(found)


def is_insecure(origin: Origin) -> bool:
    """Whether the user lets a registry be reached by plain http. Raises Error for a `registries.conf` that cannot be read."""
    locations: set[str] = set()
    for path in _files():
        locations |= _insecure(path)
    return not locations.isdisjoint(_spellings(origin))


def _spellings(origin: Origin) -> list[str]:
    """How files may name a host."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return [f"{host}:{origin.port}", *([host] if origin.port in PORTS.values() else [])]


def _files() -> Iterator[str]:
    named = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    paths = [named] if named else [os.path.expanduser(path) for path in CONF]
    yield from [path for path in paths if os.path.isfile(path)][:1]
    for path in () if named else reversed(paths):
        folder = f"{path}.d"
        if os.path.isdir(folder):
            yield from (os.path.join(folder, each) for each in sorted(os.listdir(folder)) if each.endswith(".conf"))


@cache
def _insecure(path: str) -> frozenset[str]:
    """What a file says to be `insecure`; a part of a registry, `HOST/PATH`, is no host and so has no effect here."""
    try:
        value = tomllib.loads(read_plain(path, LARGEST)[0].decode())
    except OSError as error:
        hint = _MENDED if error.errno in (errno.EFBIG, errno.EINVAL) else "make it readable for your user"
        raise Error(f"cannot be read: {reason(error)}", path=path, hint=hint) from None
    except (ValueError, RecursionError) as error:
        raise Error(f"is not TOML: {str(error)[:200]}", path=path, hint=_MENDED) from None
    tables = value.get("registry")
    found = set()
    for table in tables if isinstance(tables, list) else ():
        if isinstance(table, dict) and table.get("insecure") is True:
            found |= {each.lower() for each in (table.get("location"), table.get("prefix")) if isinstance(each, str)}
    return frozenset(found)

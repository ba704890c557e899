"""Origins: scheme, host and port of a URL. A secret that is meant for one is never sent to another."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple
from modelbuild.words import shown

PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Whom a request is sent to. The host is in lower case, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """As errors name it: without the port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The start of its URLs, without a slash at the end."""
        return f"{self.scheme}://{self}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, so that nobody on the way can listen."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


_WHOLE = re.compile(r"(\w+://[^/?#\x00-\x20\x7f]+)[/?#][^\x00-\x20\x7f]*")


def origin_of(url: str) -> Origin:
    """The origin of a URL that anybody may have sent. Raises Error, which does not show its path or query: they may be secret."""
    # Thousands of URLs of one server differ only in what follows.
    found = _WHOLE.fullmatch(url)
    return _origin_of(found[1] if found else url)


@lru_cache(256)
def _origin_of(url: str) -> Origin:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Error("the URL is not valid: its host or port cannot be read") from None
    if parts.scheme not in PORTS:
        got = f"'{shown(parts.scheme)}'" if parts.scheme else "none"
        raise Error(f"expected a URL that begins with http:// or https://, got {got}")
    if not host or any(char <= " " or char == "\x7f" for char in url):
        raise Error("the URL is not valid: it has no host, or contains a space or a control character")
    if parts.username is not None or parts.password is not None:
        raise Error(f"the URL of host '{shown(host)}' contains a user or password")
    return Origin(parts.scheme, host.lower(), PORTS[parts.scheme] if port is None else port)

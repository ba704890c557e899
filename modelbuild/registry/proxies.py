"""Which proxy a request goes through, by the environment: $HTTPS_PROXY, $HTTP_PROXY and $NO_PROXY, in capitals or not."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote, urlsplit

from modelbuild.errors import Error
from modelbuild.registry.origin import PORTS, Origin
from modelbuild.tuples import NamedTuple


class Proxy(NamedTuple):
    """A proxy. `credentials` (`user:password`) are never shown."""

    scheme: str
    address: str
    credentials: str | None

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"


def proxy_for(origin: Origin) -> Proxy | None:
    """The proxy for an origin; this machine is reached without one, as in Go. Raises Error for one that cannot be used."""
    from urllib.request import getproxies, proxy_bypass

    if origin.is_loopback:
        return None
    proxies = getproxies()
    named = proxies.get(origin.scheme)
    if not named or proxy_bypass(f"{origin.host}:{origin.port}") or _is_within(origin.host, proxies.get("no", "")):
        return None
    variable = f"${origin.scheme.upper()}_PROXY"
    try:
        parts = urlsplit(named if "://" in named else f"http://{named}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise Error(f"{variable} is not a URL", hint="write it as http://HOST:PORT")
    if parts.scheme not in PORTS:
        what = f"{variable} names a proxy of the kind '{parts.scheme}', which is not supported"
        raise Error(what, hint="name a proxy by http:// or https://, or set $NO_PROXY for this host")
    credentials = None
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    shown = f"[{host}]" if ":" in host else host
    return Proxy(parts.scheme, f"{shown}:{port or PORTS[parts.scheme]}", credentials)


def _is_within(host: str, excepted: str) -> bool:
    """Whether an address lies in one of the networks of $NO_PROXY (10.0.0.0/8), which Python's own reading leaves out."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for word in excepted.split(","):
        if "/" in word:
            try:
                if address in ipaddress.ip_network(word.strip(), strict=False):
                    return True
            except ValueError:
                continue
    return False

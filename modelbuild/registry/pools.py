"""Connections that are used again: a pool for each scheme, proxy, and set of certificates that are trusted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from modelbuild.interrupt import Stop
from modelbuild.registry import machine
from modelbuild.registry.origin import Origin
from modelbuild.registry.patience import Patience
from modelbuild.registry.proxies import Proxy

if TYPE_CHECKING:
    import ssl

    from urllib3 import PoolManager


class Pools:
    """All pools of a transport. `ca_files` are trusted for every host; raises Error where they cannot be."""

    def __init__(self, ca_files: tuple[str, ...], patience: Patience, stop: Stop) -> None:
        self._ca_files = ca_files
        self._patience = patience
        self._stop = stop
        self._mutex = threading.Lock()
        self._pools: dict[tuple[str, Proxy | None, tuple[str, ...]], PoolManager] = {}
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        if ca_files:
            # Read now: a file that is wrong is said before any work.
            self._context(())

    def of(self, origin: Origin, proxy: Proxy | None) -> PoolManager:
        """The pool that a host is reached by. Raises Error for its certificates."""
        from urllib3 import PoolManager, ProxyManager, Timeout, make_headers

        from modelbuild.registry.connections import pool_classes

        roots = machine.roots(origin) if origin.scheme == "https" else ()
        with self._mutex:
            made = self._pools.get((origin.scheme, proxy, roots))
            if made is None:
                timeout = Timeout(connect=self._patience.connect, read=self._patience.silence)
                is_plain = origin.scheme == "http" and (proxy is None or proxy.scheme == "http")
                options: dict[str, Any] = {"maxsize": 32, "timeout": timeout}
                options |= {} if is_plain else {"ssl_context": self._context(roots)}
                if proxy is None:
                    made = PoolManager(**options)
                else:
                    secret = make_headers(proxy_basic_auth=proxy.credentials) if proxy.credentials else None
                    made = ProxyManager(proxy.url, proxy_headers=secret, **options)
                made.pool_classes_by_scheme = pool_classes(self._patience.longest, self._stop)
                self._pools[origin.scheme, proxy, roots] = made
            return made

    def _context(self, roots: tuple[str, ...]) -> ssl.SSLContext:
        # Reading the system's certificates takes longer than many a request.
        if roots not in self._contexts:
            from modelbuild.registry import trust

            self._contexts[roots] = trust.context(*self._ca_files, *roots)
        return self._contexts[roots]

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()

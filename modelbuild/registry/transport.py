"""The one HTTP client: connections, redirects, tries, and authorization on demand. Nothing that a server says is believed unbounded."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin

from modelbuild import __version__, interrupt
from modelbuild.errors import Error, Stopped
from modelbuild.registry import machine
from modelbuild.registry.faults import Unreachable, fault
from modelbuild.registry.origin import Origin, origin_of
from modelbuild.registry.patience import Patience, retry_after
from modelbuild.registry.pools import Pools
from modelbuild.registry.proxies import Proxy, proxy_for
from modelbuild.registry.rate import Rate
from modelbuild.words import duration, size

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPHeaderDict

REDIRECTS = 10
"""Redirects of one request that are followed."""

CHUNK = 256 << 10
"""Bytes that are read from, or written to, a connection at once."""

SMALL = 1 << 20
"""Bytes of the largest answer about something else: a token, an error."""

DRAINED = 16 << 10
"""Bytes of a body that is read only to use its connection again."""

HUB, HUB_NAMES = "registry-1.docker.io", ("docker.io", "index.docker.io")
"""Where Docker's registry is, and what images of it are called by: nothing there speaks the protocol (distribution/reference)."""

_MOVED = (301, 302, 303, 307, 308)
_BUSY = (429, 503)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that another try may end."""

_REPEATABLE = ("GET", "HEAD")

Get = Callable[[str, Mapping[str, str], bytes | None], tuple[int, "Mapping[str, str]", bytes]]
"""Fetch a URL with headers of one's own: (status, headers, body); a form makes it a POST. Bounded by SMALL; raises Error."""

Body = bytes | Callable[[], Iterable[bytes]]
"""What is sent: bytes, or what gives its pieces anew for each try (with a header Content-Length)."""


class Authorization(Protocol):
    """Knows, or gets, what lets us in. Used by several threads at once.

    origin  whom it is for: what is returned is sent to no other
    scope   what is to be done there, as in the token protocol: `repository:library/llama3:pull`
    """

    def known(self, origin: Origin, scope: str) -> str | None:
        """The value of a header Authorization to send at once; None where there is none yet."""

    def answer(self, origin: Origin, scope: str, challenges: list[str], get: Get) -> str | None:
        """The same after a 401, whose headers WWW-Authenticate are the challenges; None to go without. Raises Error."""

    def refused(self, origin: Origin, header: str) -> None:
        """What was sent got a 401, too. Raises Error where it was a login."""


class Answer:
    """An answer whose body has not been read. To be closed: a `with` block does."""

    def __init__(self, transport: Transport, url: str, response: BaseHTTPResponse, proxy: Proxy | None) -> None:
        self._transport = transport
        self._response = response
        self._proxy = proxy
        self.url = url
        """Where it came from after all redirects. May be secret."""
        self.origin = origin_of(url)
        self.status = response.status
        self.let_in_by: str | None = None  # the header Authorization that was sent: secret
        self.headers: HTTPHeaderDict = response.headers

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def length(self) -> int | None:
        """Bytes of the body, if the server says it in a way that can be believed."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None

    @property
    def is_compressed(self) -> bool:
        """Whether the body is another one than was asked for. Some storages name an encoding of their own transport."""
        return self.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity", "aws-chunked")

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives. Raises Unreachable where it ends early, and Stopped."""
        while True:
            self._transport.check()
            try:
                data = self._response.read1(self._transport.chunk, decode_content=False)
            except Exception as error:
                self._transport.check()
                raise fault(self.origin, error, self._proxy.url if self._proxy else None).error from None
            if not data:
                # After an abort the rest of the body is missing, and is no fault of the server.
                self._transport.check()
                return
            yield data
            self._transport.pace(len(data))

    def body(self, limit: int = SMALL, what: str = "answer") -> bytes:
        """The whole body. Raises Error where it is larger than `limit` bytes or compressed, and Unreachable, also for a trickle."""
        if self.is_compressed:
            raise Error(
                f"'{self.origin}' sends its {what} compressed, which was not asked for",
                hint="this may be a proxy's doing: reach the registry without it",
            )
        told = self.length
        data = bytearray()
        end = time.monotonic() + self._transport.patience.longest
        for piece in self.pieces() if told is None or told <= limit else ():
            data += piece
            if len(data) > limit:
                break
            if time.monotonic() > end:
                raise Unreachable(f"'{self.origin}' sends its {what} too slowly", hint="try again later")
        if len(data) > limit or told is not None and told > limit:
            count = size(told) if told is not None else f"more than {size(limit)}"
            what = f"the {what} of '{self.origin}' is too large: {count}, expected at most {size(limit)}"
            raise Error(what, hint="check the name: this may not be a registry of models")
        return bytes(data)

    def stop(self) -> None:
        """Have a read that is under way in another thread end now."""
        try:
            self._response.shutdown()
        except (ValueError, RuntimeError, OSError):
            return

    def close(self) -> None:
        """Give the connection back where the body has been read, or is a short one of a redirect or an error; else close it."""
        if self.status >= 300 and (self.length or DRAINED) < DRAINED and not self._transport.is_stopped:
            with suppress(Exception):
                self._response.read(DRAINED, decode_content=False)
        if not self._response.closed:
            self._response.close()
        self._response.release_conn()


class Transport:
    """Sends requests. One for all that a command does; used by several threads at once.

    ca_file        certificates to trust besides those of the system
    insecure       reach every host by plain http, as Ollama's `--insecure` does
    limit_rate     bytes a second, of all connections together and of both directions
    authorization  None: anonymous
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        insecure: bool = False,
        limit_rate: float | None = None,
        authorization: Authorization | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._ca_file = ca_file
        self._insecure = insecure
        self._rate = Rate(limit_rate) if limit_rate else None
        self._authorization = authorization
        self.patience = patience or Patience()
        self.chunk = CHUNK if not limit_rate else max(1 << 10, min(CHUNK, int(limit_rate / 10)))
        """Bytes that are read from a connection at once."""
        # A signal may be heard by a thread that holds it, and its handler stops what is open.
        self._mutex = threading.RLock()
        self._stop = interrupt.Stop()
        self._pools = Pools((ca_file,) if ca_file is not None else (), self.patience, self._stop)
        self._heard: set[Origin] = set()
        self._open: weakref.WeakSet[Answer] = weakref.WeakSet()

    def origin(self, host: str) -> Origin:
        """Whom the host of a model's name means: TLS, and plain http for this machine (unless certificates are named) or if insecure."""
        found = origin_of(f"https://{HUB if host.lower() in HUB_NAMES else host}")
        is_plain = self._insecure or machine.is_insecure(found)
        if is_plain or found.is_loopback and not (self._ca_file or machine.roots(found)):
            return origin_of(f"http://{host}")
        return found

    def _may_be_plain(self, origin: Origin) -> bool:
        """Whether an origin may be reached by plain http."""
        return self._insecure or origin.is_loopback or machine.is_insecure(origin)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        scope: str | None = None,
    ) -> Answer:
        """Send a request, and return the answer of any status; its body is not read. Raises Error, Unreachable and Stopped.

        scope  what the request does, for authorization; None sends none

        A GET or HEAD follows redirects, and is tried again where the network or the server fails in passing. Of other methods
        redirects are returned, and only what cannot have reached the server, or was put off by it (429, 503), is sent again.
        Authorization is sent to the origin of `url` alone.
        """
        first = origin_of(url)
        given = dict(headers or {})
        at_home = True
        for _ in range(REDIRECTS + 1):
            # Not again where another host leads back: it would choose what our token asks for.
            at_home = at_home and origin_of(url) == first
            sent = given if at_home else {name: given[name] for name in given if name.lower() != "authorization"}
            answer = self._authorized(method, url, sent, body, scope if at_home else None)
            location = answer.headers.get("Location")
            if method not in _REPEATABLE or answer.status not in _MOVED or not location:
                return answer
            answer.close()
            url = self._moved(answer, location)
        raise Error(f"'{first}' redirects more than {REDIRECTS} times", hint="this is a fault of the registry")

    def get(
        self, url: str, headers: Mapping[str, str], form: bytes | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Fetch a small answer with headers of one's own, and send a form if there is one: (status, headers, body). Raises Error."""
        with self.request("GET" if form is None else "POST", url, headers=headers, body=form) as answer:
            return answer.status, answer.headers, answer.body()

    def pace(self, count: int) -> None:
        """Wait until after so many bytes more may pass."""
        if self._rate is not None and (seconds := self._rate.take(count)):
            self.wait(seconds)

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set

    def check(self) -> None:
        """Raise Stopped once `stop` was called."""
        if self.is_stopped:
            raise Stopped

    def stop(self) -> None:
        """End all that is under way in other threads, which get Stopped; safe in a handler of a signal."""
        self._stop.set()
        with self._mutex:
            under_way = list(self._open)
        for answer in under_way:
            answer.stop()

    def close(self) -> None:
        """Close all connections."""
        self._pools.close()

    # One request

    def _moved(self, answer: Answer, location: str) -> str:
        """Where a redirect leads to."""
        try:
            url = urljoin(answer.url, location)
            target = origin_of(url)
        except (Error, ValueError) as error:
            facts = [("reason", error.what)] if isinstance(error, Error) else []
            what = f"'{answer.origin}' redirects to what is no usable URL"
            raise Error(what, facts=facts, hint="this is a fault of the registry") from None
        if answer.origin.scheme == "https" and target.scheme == "http" and not self._may_be_plain(target):
            what = f"'{answer.origin}' redirects to '{target}' by plain http, where others can listen"
            raise Error(what, hint="use --insecure to allow plain http")
        return url

    def _authorized(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, scope: str | None
    ) -> Answer:
        authorization, origin = self._authorization, origin_of(url)
        if scope is None or authorization is None:
            return self._send(method, url, headers, body)
        known = authorization.known(origin, scope)
        answer = self._send(method, url, {**headers, "Authorization": known} if known else headers, body)
        if answer.status != 401:
            return answer
        if known:
            authorization.refused(origin, known)
        got = authorization.answer(origin, scope, answer.headers.getlist("WWW-Authenticate"), self.get)
        if got is None:
            return answer
        answer.close()
        answer = self._send(method, url, {**headers, "Authorization": got}, body)
        if answer.status == 401:
            authorization.refused(origin, got)
        return answer

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Answer:
        """One request and its tries, without redirects."""
        origin = origin_of(url)
        if origin.scheme == "http" and not self._may_be_plain(origin):
            raise Error(f"'{origin}' would be reached by plain http", hint="use --insecure to allow it")
        proxy = proxy_for(origin)
        for attempt in range(1, self.patience.tries + 1):
            self.check()
            try:
                answer = self._once(method, url, headers, body, proxy)
            except (Error, Stopped):
                raise
            except Exception as error:
                self.check()
                found = fault(origin, error, proxy.url if proxy else None)
                tries = self.patience.tries if origin in self._heard else self.patience.unheard
                again = found.passing and (found.unsent or method in _REPEATABLE)
                if not again or attempt >= tries:
                    raise found.error from None
                pause = self.patience.before(attempt)
            else:
                self._heard.add(origin)
                again = answer.status in (_PASSING if method in _REPEATABLE else _BUSY)
                if not again or attempt == self.patience.tries:
                    return answer
                answer.close()
                pause = self._asked(answer) or self.patience.before(attempt)
            self.wait(pause)
        raise AssertionError

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, proxy: Proxy | None
    ) -> Answer:
        sent = {"User-Agent": f"modelbuild/{__version__}", "Accept-Encoding": "identity", **headers}
        response = self._pools.of(origin_of(url), proxy).urlopen(
            method,
            url,
            body=self._paced(body()) if callable(body) else body,
            headers=sent,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        answer = Answer(self, url, response, proxy)
        answer.let_in_by = sent.get("Authorization")
        with self._mutex:
            self._open.add(answer)
        return answer

    def _paced(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.check()
            yield piece
            self.pace(len(piece))

    def _asked(self, answer: Answer) -> float | None:
        """Seconds that Retry-After asks us to wait. Raises Unreachable where that is too long."""
        seconds = retry_after(answer.headers.get("Retry-After"), time.time())
        if seconds is not None and seconds > self.patience.longest:
            told = duration(seconds) if seconds < 1e6 else "for days"
            what = f"'{answer.origin}' is busy (status {answer.status}) and asks to wait {told}"
            raise Unreachable(what, hint="try again after that time")
        return seconds

    def wait(self, seconds: float) -> None:
        """Sleep, unless we are stopped. Raises Stopped, and KeyboardInterrupt."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
            interrupt.check()
            self.check()

"""One blob on its way into a repository: in parts, each of which may break; what has arrived is not sent again.

Sources: the OCI distribution specification 1.1, "Push"; Ollama's server/upload.go for uploads that are redirected to a storage.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import quote, urlencode, urljoin, urlsplit, urlunsplit

from modelbuild.errors import Error, Stopped
from modelbuild.ollama.name import HOST
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.local_blob import Blob
from modelbuild.registry.origin import origin_of
from modelbuild.registry.refusals import refusal
from modelbuild.registry.repository import DIGEST, Repository
from modelbuild.registry.transport import Answer

SMALL = 4 << 20
"""Bytes up to which a blob is sent with the request that ends its upload."""

PARTS, LEAST, MOST = 16, 100_000_000, 1_000_000_000
"""Parts of a large blob, and bytes of the smallest and the largest: as Ollama's, which is what its registry expects."""

FLOOR = 1 << 20
"""Bytes of a part that nobody may call too large."""

PROGRESS = 1 << 20
"""Bytes after which a part that breaks counts as a first failure again."""

RESTARTS = 2
"""Times that an upload is begun anew because the registry has lost it."""


class _Lost(Exception):
    """The registry no longer knows the upload."""


class Upload:
    """Sends one blob to a repository.

    scope    what a token must allow
    sent     told the bytes of it that have arrived in all; may go back
    stopped  set to give up
    """

    def __init__(
        self, repository: Repository, blob: Blob, scope: str, sent: Callable[[int], None], stopped: threading.Event
    ) -> None:
        self._repository = repository
        self._transport = repository.transport
        self._blob = blob
        self._scope = scope
        self._sent = sent
        self._stopped = stopped
        self._url: str | None = None
        self._at = 0
        self._part = min(max(-(-blob.size // PARTS), LEAST), MOST)
        self._etags: list[bytes] = []
        self._checked = threading.Event()
        self._fault: BaseException | None = None

    def run(self, source: str | None = None) -> bool:
        """Send it, or have the registry take it from another repository (`namespace/model`); returns whether it was sent.

        Raises Error, Unreachable and Stopped; then the registry has no such blob.
        """
        if source is not None and self._mounted(source):
            return False
        if self._blob.size <= SMALL and self._whole():
            return True
        checking = threading.Thread(target=self._check, daemon=True)
        checking.start()
        try:
            self._in_parts()
        except BaseException:
            if self._fault is not None and not isinstance(self._fault, Stopped):
                self._cancel()
                raise self._fault from None
            raise
        return True

    # The beginning

    def _mounted(self, source: str) -> bool:
        query = urlencode({"mount": self._blob.digest, "from": source}, safe=":/")
        scope = f"{self._scope} repository:{source}:pull"
        with self._ask("POST", f"{self._repository.url}/blobs/uploads/?{query}", scope=scope) as answer:
            if answer.status == 201:
                return True
            if answer.status == 202:
                self._url = self._next(answer)
        return False

    def _begin(self) -> str:
        """The URL of an upload that nothing has arrived of, or of the one under way."""
        if self._url is None:
            self._arrived(0)
            self._etags.clear()
            with self._ask("POST", f"{self._repository.url}/blobs/uploads/", scope=self._scope) as answer:
                if answer.status not in (201, 202):
                    raise self._refusal(answer)
                self._url = self._next(answer)
        return self._url

    # In one piece

    def _whole(self) -> bool:
        """Send it with the request that ends the upload; False where the registry does not want that."""
        data = self._blob.read()
        failures = 0
        while True:
            try:
                headers = {"Content-Type": "application/octet-stream"}
                with self._ask("PUT", self._ended(self._begin()), headers=headers, body=data) as answer:
                    self._url = None
                    if 200 <= answer.status < 300:
                        self._accepted(answer)
                        self._arrived(len(data))
                        return True
                    if answer.status in (401, 403, 429) or answer.status >= 500:
                        raise self._refusal(answer)
                    return False
            except Unreachable as error:
                self._url = None
                failures += 1
                self._pause(failures, error)
                if self._repository.has(self._blob.digest):
                    return True

    # In parts

    def _in_parts(self) -> None:
        failures = restarts = 0
        is_unsure = False
        while True:
            before = self._at
            try:
                if is_unsure:
                    self._find_place()
                    is_unsure = False
                self._begin()
                while self._at < self._blob.size:
                    self._send_part()
                    # Where nobody knows how much of it arrived, it begins anew.
                    self._begin()
                self._commit()
                return
            except _Lost:
                self._url = None
                restarts += 1
                if restarts > RESTARTS:
                    what = f"'{self._repository.origin}' loses what is sent to it"
                    facts = [("blob", self._blob.digest)]
                    raise Unreachable(
                        what, facts=facts, hint="this is a fault of the registry: try again later"
                    ) from None
            except Unreachable as error:
                is_unsure = True
                failures = 1 if self._at - before >= PROGRESS else failures + 1
                self._pause(failures, error)

    def _send_part(self) -> None:
        assert self._url is not None
        start, end = self._at, min(self._at + self._part, self._blob.size)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
            "Content-Range": f"{start}-{end - 1}",
            "X-Redirect-Uploads": "1",
        }
        with self._ask("PATCH", self._url, headers=headers, body=partial(self._pieces, start, end)) as answer:
            if answer.status == 307:
                storage = answer.headers.get("Location")
                if not storage:
                    raise self._wrong("redirects an upload to nowhere")
                self._url = self._next(answer, only="Docker-Upload-Location")
                self._etags.append(self._store(urljoin(answer.url, storage), start, end))
                self._arrived(end)
            elif 200 <= answer.status < 300:
                self._url = self._next(answer)
                self._arrived(self._told(answer, end))
                if self._at <= start:
                    raise Unreachable(f"'{answer.origin}' takes nothing of a blob", hint="try again later")
            elif answer.status == 413 and self._part > FLOOR:
                # A proxy on the way takes less at once.
                self._part = max(self._part // 8, FLOOR)
                self._find_place()
            else:
                self._broken(answer)

    def _store(self, url: str, start: int, end: int) -> bytes:
        """Send a part to the storage that a registry redirects to, without authorization; returns its md5."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(end - start)}
        failures = 0
        while True:
            md5 = hashlib.md5(usedforsecurity=False)
            try:
                body = partial(self._pieces, start, end, md5.update)
                with self._transport.request("PUT", url, headers=headers, body=body) as answer:
                    if 200 <= answer.status < 300:
                        return md5.digest()
                    raise refusal(answer, "a part of a blob")
            except Unreachable as error:
                failures += 1
                self._pause(failures, error)

    def _pieces(self, start: int, end: int, also: Callable[[bytes], None] | None = None) -> Iterator[bytes]:
        for piece in self._blob.pieces(start, end):
            if self._stopped.is_set() or self._fault is not None:
                raise Stopped
            if also is not None:
                also(piece)
            yield piece
            start += len(piece)
            self._sent(start)

    def _find_place(self) -> None:
        """Ask how much of the upload has arrived. Where parts go to a storage, those that are through are known."""
        if self._url is None or self._etags:
            return
        with self._ask("GET", self._url) as answer:
            if 200 <= answer.status < 300 and answer.headers.get("Range"):
                self._url = self._next(answer, required=False)
                self._arrived(self._told(answer, 0))
            else:
                self._url = None

    def _commit(self) -> None:
        """End the upload: from here on the registry has the blob. Not before our own bytes are known to be right."""
        assert self._url is not None
        while not self._checked.wait(0.1):
            if self._stopped.is_set():
                raise Stopped
        if self._fault is not None:
            raise self._fault
        try:
            with self._ask("PUT", self._ended(self._url), headers={"Content-Length": "0"}) as answer:
                if 200 <= answer.status < 300:
                    self._accepted(answer)
                    return
                if answer.status == 400:
                    raise _Lost
                self._broken(answer)
        except (_Lost, Unreachable):
            # Perhaps only the answer was lost.
            if self._repository.has(self._blob.digest):
                return
            raise

    def _ended(self, url: str) -> str:
        """The URL of the request that ends an upload."""
        query = {"digest": self._blob.digest}
        if self._etags:
            whole = hashlib.md5(b"".join(self._etags), usedforsecurity=False).hexdigest()
            query["etag"] = f"{whole}-{len(self._etags)}"
        parts = urlsplit(url)
        joined = "&".join(filter(None, [parts.query, *(f"{name}={quote(text, ':')}" for name, text in query.items())]))
        return urlunsplit((parts.scheme, parts.netloc, parts.path, joined, ""))

    def _cancel(self) -> None:
        """Have the registry forget what arrived. It does so by itself in some days: a failure says nothing."""
        if self._url is None:
            return
        try:
            self._ask("DELETE", self._url).close()
        except (Error, Stopped):
            return

    # Our own bytes

    def _check(self) -> None:
        try:
            self._blob.check(self._stopped)
        except (Error, Stopped) as fault:
            self._fault = fault
        finally:
            self._checked.set()

    # Answers

    def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | Callable[[], Iterator[bytes]] | None = None,
        scope: str | None = None,
    ) -> Answer:
        """Send a request; with authorization where it goes to the registry itself."""
        is_home = origin_of(url) == self._repository.origin
        return self._transport.request(
            method, url, headers=headers, body=body, scope=(scope or self._scope) if is_home else None
        )

    def _next(self, answer: Answer, *, only: str | None = None, required: bool = True) -> str:
        """Where an upload goes on. Raises Error where that is no URL of this registry's making."""
        names = [only] if only else ["Docker-Upload-Location", "Location"]
        told = next((text for name in names if (text := answer.headers.get(name))), None)
        if told is None:
            if required or self._url is None:
                raise self._wrong("does not say where an upload goes on")
            return self._url
        try:
            url = urljoin(answer.url, told)
            scheme = origin_of(url).scheme
        except (Error, ValueError):
            raise self._wrong("leads an upload to what is not a usable URL") from None
        if scheme == "http" and self._repository.origin.scheme == "https":
            raise self._wrong("leads an upload to plain http")
        return url

    def _told(self, answer: Answer, end: int) -> int:
        """How many bytes have arrived, by the header Range; `end` where there is none."""
        text = answer.headers.get("Range")
        if text is None:
            return end
        found = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,19})", text.strip())
        if found is None:
            raise self._wrong("does not say in a readable way how much has arrived")
        # Of nothing at all, registries say `0-0` too.
        arrived = int(found[1]) + 1 if int(found[1]) else 0
        if arrived > max(end, self._at, self._blob.size):
            raise self._wrong("says that more has arrived than was sent")
        return arrived

    def _accepted(self, answer: Answer) -> None:
        told = answer.headers.get("Docker-Content-Digest", "")
        if DIGEST.fullmatch(told) and told != self._blob.digest:
            raise self._wrong("stores a blob under another digest", ("got", told))

    def _broken(self, answer: Answer) -> None:
        """Raise what an answer to a part means."""
        if answer.status in (404, 410):
            raise _Lost
        if answer.status in (408, 409, 416):
            raise Unreachable(f"'{answer.origin}' does not take the part of a blob", hint="try again later")
        raise self._refusal(answer)

    def _refusal(self, answer: Answer) -> Error:
        if answer.status in (401, 403) and answer.origin == self._repository.origin:
            raise denied(self._repository, answer)
        return refusal(answer, f"an upload to '{self._repository.path}'")

    def _wrong(self, what: str, *facts: tuple[str, str]) -> Error:
        told = [("blob", self._blob.digest), *facts]
        return Error(f"'{self._repository.origin}' {what}", facts=told, hint="this is a fault of the registry")

    def _arrived(self, count: int) -> None:
        self._at = count
        self._sent(count)

    def _pause(self, failures: int, error: Unreachable) -> None:
        """Wait before the next try. Raises the error where there were enough."""
        patience = self._transport.patience
        if failures >= patience.tries:
            raise error
        if self._stopped.wait(patience.before(failures)):
            raise Stopped


def denied(repository: Repository, answer: Answer) -> Error:
    """The error for a registry that lets us not push."""
    from modelbuild.registry.refusals import message, way_in

    told, origin = message(answer), repository.origin
    hint = f"log in: {way_in(origin)}"
    if origin.host == HOST:
        hint = f"push into a namespace of your own: --to USER/MODEL; {way_in(origin)}"
    return Error(
        f"access denied: '{origin}' does not let us push to '{repository.path}'",
        facts=[("registry", told)] if told else [],
        hint=hint,
    )

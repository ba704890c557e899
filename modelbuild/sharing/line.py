"""The way to a remote: nothing that comes of it is believed, and it is given up where it costs more than it gives."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from modelbuild import interrupt
from modelbuild.engine.build import Event
from modelbuild.errors import Error, Stopped
from modelbuild.remotes import Missing, Pieces, Remote

FAULTS = 3
"""Faults in a row after which a remote is no longer asked in this build, or no longer sent to."""

PATIENCE = 20.0
"""Seconds that a small answer may take, and that a large one may go on without having been worth its while.

Also the seconds that faults may cost more than answers took, before a remote is given up.
"""

FLOOR = 100_000
"""Bytes a second below which a large answer is given up after that."""


PAUSE = 0.5
"""Seconds before something is sent a second time; three times as many before the next."""

T = TypeVar("T")


class Lost(Exception):
    """The remote does not give what was asked for. Whoever asked goes on without it."""


class Line:
    """Asks a remote, and sends to it; used by several threads at once. `stop` is safe in a handler of a signal.

    tell  told an event `remote-lost` once for each direction that is given up
    """

    def __init__(self, remote: Remote, tell: Callable[[Event], None]) -> None:
        self.remote = remote
        self._tell = tell
        self._mutex = threading.Lock()
        self._ledgers = {"read": _Ledger(), "write": _Ledger()}
        self._lost: set[str] = set()
        self._heard = False
        self._is_stopped = False
        self._wrong: dict[str, int] = {}
        self.rate = Rate()

    def serves(self, direction: str) -> bool:
        """Whether it is still worth trying to `read` from it, or to `write` to it."""
        return direction not in self._lost

    def small(self, kind: str, digest: str, limit: int) -> bytes | None:
        """Something small, whole; None if it is not there. Raises Lost."""
        with _Try(self, "read") as attempt:
            end, data = time.monotonic() + PATIENCE, bytearray()
            try:
                for piece in self.remote.get(kind, digest):
                    interrupt.check()
                    data += piece
                    if len(data) > limit:
                        raise Lost
                    if time.monotonic() > end:
                        raise Error(f"'{self.remote.name}' answers too slowly")
            except Missing:
                attempt.succeeded()
                return None
            attempt.succeeded()
            return bytes(data)

    def large(self, kind: str, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Something large, piece by piece; the number and the digest of its bytes are for the caller to check. Raises Lost."""
        with _Try(self, "read") as attempt:
            begun, count = time.monotonic(), 0
            try:
                for piece in self.remote.get(kind, digest, start, length):
                    # A build that is to end waits for its threads: for no more of what may go on for hours.
                    interrupt.check()
                    count += len(piece)
                    yield piece
                    seconds = time.monotonic() - begun
                    if seconds > PATIENCE and count < FLOOR * seconds:
                        raise Error(f"'{self.remote.name}' sends too slowly: {count / seconds / 1000:.0f} kB a second")
            except Missing:
                attempt.succeeded()
                raise Lost from None
            self.rate.add(count, time.monotonic() - begun)
            attempt.succeeded()

    def together(self, ask: Callable[[str], T], names: Sequence[str], at_once: int) -> Iterator[T]:
        """What is answered for each name, in their order. Ctrl-C ends what was asked: nobody waits for it."""
        # Several for each thread, where there are many: to hand over a single one takes as long as a part of its answer.
        each = max(1, min(32, len(names) // (4 * at_once)))
        some = (names[at : at + each] for at in range(0, len(names), each))
        with ThreadPoolExecutor(min(at_once, len(names)), thread_name_prefix="remote") as pool:
            try:
                for found in pool.map(lambda names: [ask(name) for name in names], some):
                    yield from found
            except KeyboardInterrupt:
                self.stop()
                raise

    def right(self, kind: str) -> None:
        """What came of this kind is what it should be."""
        self._wrong[kind] = 0

    def wrong(self, kind: str, what: str) -> None:
        """Count what came of this kind as a fault: it was not what it should be, though the answer was one."""
        with self._mutex:
            self._wrong[kind] = self._wrong.get(kind, 0) + 1
            if self._wrong[kind] < FAULTS:
                return
        self._give_up("read", Error(f"'{self.remote.name}' {what}"))

    def size(self, kind: str, digest: str, direction: str = "write") -> int | None:
        """Bytes of what is there; None if nothing is. Raises Lost."""
        with _Try(self, direction) as attempt:
            found = self.remote.size(kind, digest)
            attempt.succeeded()
            return found

    def put(self, kind: str, digest: str, size: int, pieces: Pieces) -> None:
        """Keep something there. Raises Lost."""
        with _Try(self, "write") as attempt:
            self.remote.put(kind, digest, size, pieces)
            attempt.succeeded()

    def hope(self) -> None:
        """Ask again a remote that was given up: by now it may be mended. Of no effect after `stop`."""
        with self._mutex:
            if not self._is_stopped and self._lost:
                self._lost = set()
                self._ledgers = {"read": _Ledger(), "write": _Ledger()}
                self._wrong.clear()

    def stop(self) -> None:
        """End all that is under way."""
        self._is_stopped = True
        self._lost |= {"read", "write"}
        self.remote.stop()

    def pause(self, failures: int) -> float:
        """Seconds to wait before something is sent again. One that was never heard is not waited for."""
        return PAUSE * 3 ** (failures - 1) if self._heard else 0.0

    def _fault(self, direction: str, error: Error, begun: float) -> None:
        with self._mutex:
            if not self._ledgers[direction].fault(begun, time.monotonic()):
                return
        self._give_up(direction, error)

    def _give_up(self, direction: str, error: Error) -> None:
        with self._mutex:
            if direction in self._lost:
                return
            self._lost.add(direction)
        self._tell({"event": "remote-lost", "remote": self.remote.name, "direction": direction, "error": str(error)})

    def _success(self, direction: str, begun: float) -> None:
        with self._mutex:
            self._heard = True
            self._ledgers[direction].success(begun, time.monotonic())


class _Ledger:
    """What a direction has cost: its faults in a row, and the seconds that were waited in vain."""

    def __init__(self) -> None:
        self._faults = 0
        self._wasted = 0.0
        self._last = -math.inf

    def fault(self, begun: float, now: float) -> bool:
        """Note a fault; returns whether it is time to give up. Requests that fail together, as when a server restarts, count once."""
        if begun >= self._last:
            self._faults += 1
        self._wasted += now - max(begun, self._last)
        self._last = now
        return self._faults >= FAULTS or self._wasted >= PATIENCE

    def success(self, begun: float, now: float) -> None:
        self._faults = 0
        self._wasted = max(0.0, self._wasted - (now - begun))


class Rate:
    """Bytes a second, as measured over what was large enough to tell."""

    LEAST = 1 << 20

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0

    def add(self, count: int, seconds: float) -> None:
        if count >= self.LEAST:
            self._bytes += count
            self._seconds += seconds

    @property
    def bytes_a_second(self) -> float | None:
        """None while nothing was measured."""
        return self._bytes / self._seconds if self._seconds > 0 else None


class _Try:
    """One request: its errors become Lost, and count."""

    def __init__(self, line: Line, direction: str) -> None:
        self._line = line
        self._direction = direction
        self._begun = time.monotonic()

    def __enter__(self) -> _Try:
        if not self._line.serves(self._direction):
            raise Lost
        return self

    def succeeded(self) -> None:
        self._line._success(self._direction, self._begun)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Lost) or not isinstance(error, Exception):
            return
        if self._direction == "write" and isinstance(error, OSError):
            return  # of the file that is sent
        if not isinstance(error, Stopped):
            # An error that nobody foresaw is one of the way there too: no build fails for it.
            what = f"'{self._line.remote.name}' cannot be used: {type(error).__name__}"
            self._line._fault(self._direction, error if isinstance(error, Error) else Error(what), self._begun)
        raise Lost from None

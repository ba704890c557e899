"""How long we wait for servers, and how long they ask us to wait."""

from __future__ import annotations

import math
import random

from modelbuild.tuples import NamedTuple


class Patience(NamedTuple):
    """How long we wait for servers. Times are in seconds.

    tries    of one request
    unheard  tries of one to a server that has never answered
    pause    before the second try; doubles with each, and varies by half
    longest  pause, the longest that a server may ask for with Retry-After, and the longest that headers or a small answer may take
    connect  until a connection stands
    silence  until a connection that says nothing is given up
    """

    tries: int = 6
    unheard: int = 2
    pause: float = 0.5
    longest: float = 120.0
    connect: float = 15.0
    silence: float = 60.0

    def before(self, attempt: int) -> float:
        """Seconds to wait after the try of this number, the first being 1."""
        return min(self.pause * 2.0 ** (attempt - 1), self.longest) * random.uniform(0.5, 1.0)


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds that a header Retry-After means, in either form (RFC 9110, 10.2.3); None where it says nothing."""
    from email.utils import parsedate_to_datetime

    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text) if len(text) < 10 else math.inf
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None

from __future__ import annotations

from email.utils import formatdate

from modelbuild.registry.patience import Patience, retry_after


def test_retry_after_has_two_forms_and_others_say_nothing() -> None:
    now = 1_000_000.0
    assert retry_after("120", now) == 120
    assert retry_after(formatdate(now + 30, usegmt=True), now) == 30
    assert retry_after(formatdate(now - 30, usegmt=True), now) == 0
    for text in (None, "", "-5", "soon", "1.5", "Mon, 99 Foo 2026", "²"):
        assert retry_after(text, now) is None


def test_pauses_grow_and_vary() -> None:
    patience = Patience(pause=1.0, longest=10.0)
    for attempt, most in ((1, 1.0), (2, 2.0), (4, 8.0), (9, 10.0)):
        pauses = [patience.before(attempt) for _ in range(20)]
        assert all(most / 2 <= pause <= most for pause in pauses) and len(set(pauses)) > 1

from __future__ import annotations

from modelbuild.registry.rate import BURST, Rate


def test_bytes_take_their_time_and_pauses_are_not_saved_up() -> None:
    now = 0.0
    rate = Rate(1000, clock=lambda: now)
    assert rate.take(int(1000 * BURST)) == 0
    assert rate.take(500) == 0.5
    now = 0.5
    assert rate.take(0) == 0
    # After an hour no more than a burst passes at once.
    now = 3600.0
    assert rate.take(int(1000 * BURST) + 100) == 0.1


def test_all_who_take_share_one_rate() -> None:
    rate = Rate(1000, clock=lambda: 0.0)
    waits = [rate.take(500) for _ in range(4)]
    assert waits == [0.25, 0.75, 1.25, 1.75]

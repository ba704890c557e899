"""A failing call, a kill, another build, anything at any moment: nothing is lost, and the next build mends it.

By default a sample of the calls is tried; `pytest -m peer tests/faults` tries one in MODELBUILD_FAULTS_EVERY (60), and 1
tries each of them, which takes two hours. How single cases are run by hand is in inject.py.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import inject, shim
from tests.faults.cases import FAULTS
from tests.faults.inject import Asked, Tally
from tests.faults.scenarios import SCENARIOS

pytestmark = pytest.mark.skipif(shim.missing() is not None, reason=str(shim.missing()))

EVERY = int(os.environ.get("MODELBUILD_FAULTS_EVERY", "60"))


@pytest.fixture
def fast() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=inject.fast(), prefix="modelbuild-") as folder:
        yield Path(folder)


def hold(tally: Tally, least: int) -> None:
    print(tally)
    assert not tally.wrong, "\n" + "\n".join(outcome.shown(True) for outcome in tally.wrong[:20])
    assert tally.cases.total() >= least, tally


def test_a_sample_of_faults_loses_nothing(fast: Path) -> None:
    hold(inject.run(Asked(("cold", "warm", "stale", "gc", "verify"), every=997), fast, jobs=1), least=len(FAULTS))


@pytest.mark.peer
def test_faults_at_any_call_lose_nothing(fast: Path) -> None:
    hold(inject.run(Asked(every=EVERY), fast, jobs=os.cpu_count() or 1), least=len(SCENARIOS) * len(FAULTS))

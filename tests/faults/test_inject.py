"""A failing call, a kill, another build, anything at any moment: nothing is lost, and the next build mends it.

By default a sample of the calls is tried; `pytest -m peer tests/faults` tries one in MODELBUILD_FAULTS_EVERY (200), but at
least one for each fault of each scenario, and 1 tries each of them, which takes two hours. How single cases are run by hand
is in inject.py.
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
from tests.faults.scenarios import SCENARIOS, other_file_system

pytestmark = pytest.mark.skipif(shim.missing() is not None, reason=str(shim.missing()))

EVERY = int(os.environ.get("MODELBUILD_FAULTS_EVERY", "200"))


@pytest.fixture
def fast() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=inject.fast(), prefix="modelbuild-") as folder:
        yield Path(folder)


def hold(tally: Tally, expected: set[tuple[str, str]]) -> None:
    print(tally)
    assert not tally.wrong, "\n" + "\n".join(outcome.shown(True) for outcome in tally.wrong[:20])
    assert expected <= set(tally.cases), tally


@pytest.mark.parametrize(("scenarios", "first"), [(("cold", "gc"), 0), (("warm",), 1), (("stale", "verify"), 2)])
def test_a_sample_of_faults_loses_nothing(fast: Path, scenarios: tuple[str, ...], first: int) -> None:
    faults = tuple(FAULTS)[first::3]
    tally = inject.run(Asked(scenarios, faults, every=997), fast, jobs=1)
    hold(tally, {(scenario, fault) for scenario in scenarios for fault in faults})


@pytest.mark.peer
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_faults_at_any_call_lose_nothing(fast: Path, scenario: str) -> None:
    if SCENARIOS[scenario].apart and other_file_system(fast) is None:
        pytest.skip("no second file system to write to")
    tally = inject.run(Asked((scenario,), every=EVERY), fast, jobs=os.cpu_count() or 1)
    hold(tally, {(scenario, fault) for fault in FAULTS})

"""Put a fault at the Nth call that changes the cache or the models folder, for every N, and look at what it leaves.

    python -m tests.faults.inject                                 every scenario, fault and call (more than an hour on two cores)
    python -m tests.faults.inject --every 20                      each twentieth call
    python -m tests.faults.inject -s warm -f kill --at 37 -v      one case, and what it printed
    python -m tests.faults.inject -s cold --calls                 the calls of a scenario, numbered

Run from the root of the repository; a fault that ends in `+` stays from the Nth call on. `--jobs` cases run at once.
The exit code is 1 where something was lost.

After each case these must hold: no manifest names a missing or wrong blob; nothing foreign lies in the models folder, and
nothing of others was touched; the command ended as it may, and said what was wrong; where it says that all is well the
models are there; and the next build, without a fault, leaves what a clean build leaves, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.faults import fork, shim
from tests.faults.cases import FAULTS, Case, Outcome, calls, run_case
from tests.faults.scenarios import SCENARIOS, Place, other_file_system


class Tally(NamedTuple):
    """What came out: how many cases there were of each scenario and fault, and those after which something did not hold."""

    cases: Counter[tuple[str, str]]
    wrong: list[Outcome]

    def __str__(self) -> str:
        scenarios = list(dict.fromkeys(scenario for scenario, _ in self.cases))
        width = max((len(name) for name in FAULTS), default=0) + 2
        lines = ["".ljust(width) + "".join(f"{name:>12}" for name in scenarios)]
        for fault in FAULTS:
            counts = [self.cases[scenario, fault] for scenario in scenarios]
            if any(counts):
                lines.append(fault.ljust(width) + "".join(f"{count:12,}" for count in counts))
        sums = [sum(count for (name, _), count in self.cases.items() if name == scenario) for scenario in scenarios]
        lines.append("all".ljust(width) + "".join(f"{count:12,}" for count in sums))
        kinds = Counter(what.partition(":")[0] for each in self.wrong for what in each.wrong)
        lines.append(f"{self.cases.total():,} cases, {len(self.wrong):,} wrong")
        lines += [f"  {count:6,}  {kind}" for kind, count in kinds.most_common()]
        return "\n".join(lines)


class Asked(NamedTuple):
    """Which cases are to be run."""

    scenarios: Sequence[str] = tuple(SCENARIOS)
    faults: Sequence[str] = tuple(FAULTS)
    every: int = 1
    at: int | None = None


def run(asked: Asked, folder: Path, jobs: int = 2, tell: Callable[[Outcome], None] = lambda outcome: None) -> Tally:
    """Run cases in `jobs` processes of their own, each with the shim before it."""
    library = shim.build(folder)
    tally = Tally(Counter(), [])
    with ExitStack() as stack:
        workers = []
        for number in range(jobs):
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True)))
            words = [
                sys.executable,
                "-m",
                "tests.faults.inject",
                "--worker",
                f"{number}/{jobs}",
                "--folder",
                str(place),
            ]
            if other := other_file_system(folder):
                elsewhere = tempfile.TemporaryDirectory(dir=other, prefix="modelbuild-", ignore_cleanup_errors=True)
                words += ["--elsewhere", stack.enter_context(elsewhere)]
            words += [f"-s{name}" for name in asked.scenarios] + [f"-f{name}" for name in asked.faults]
            words += [f"--every={asked.every}"] + ([] if asked.at is None else [f"--at={asked.at}"])
            environment = shim.environment(library)
            worker = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
            workers.append(stack.enter_context(worker))
            stack.callback(worker.kill)
        for line in _lines(workers):
            outcome = Outcome.decode(line)
            tally.cases[outcome.case.scenario, outcome.case.fault] += 1
            if outcome.wrong:
                tally.wrong.append(outcome)
            tell(outcome)
        for worker in workers:
            if worker.wait():
                raise RuntimeError(f"a worker ended with exit code {worker.returncode}")
    return tally


def _lines(workers: Sequence[subprocess.Popen[str]]) -> Iterator[str]:
    import selectors

    with selectors.DefaultSelector() as selector:
        for worker in workers:
            assert worker.stdout
            selector.register(worker.stdout, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                line = key.fileobj.readline()  # type: ignore[union-attr]
                if line:
                    yield line
                else:
                    selector.unregister(key.fileobj)


def _work(asked: Asked, share: str, folder: Path, elsewhere: Path | None) -> None:
    """Be a worker: run each `jobs`th case, and print what came out, a line each."""
    fork.die_with_parent()
    number, jobs = map(int, share.split("/"))
    for place in places(asked.scenarios, folder, elsewhere):
        for case in _cases(asked, place):
            # Not each `jobs`th of all: two workers need not count the same number of calls. And where a fault has one case or
            # two, they are not all the first worker's.
            turn = case.nth // asked.every + asked.faults.index(case.fault)
            if asked.at is not None or turn % jobs == number:
                print(run_case(place, case).encode(), flush=True)


def _cases(asked: Asked, place: Place) -> Iterator[Case]:
    counted: dict[tuple[int, bool], int] = {}
    name = next(name for name, scenario in SCENARIOS.items() if scenario is place.scenario)
    for offset, fault in enumerate(asked.faults):
        key = FAULTS[fault].kinds, fault == "rm-sharing"
        if asked.at is not None:
            yield Case(name, fault, asked.at)
            continue
        if key not in counted:
            counted[key] = len(calls(place, fault))
        # The samples of two faults meet different calls; of few calls, one.
        first = offset * asked.every // len(asked.faults) % max(1, min(asked.every, counted[key]))
        for nth in range(1 + first, counted[key] + 1, asked.every):
            yield Case(name, fault, nth)


def places(scenarios: Sequence[str], folder: Path, elsewhere: Path | None) -> Iterator[Place]:
    """The places of scenarios, one after the other; one that needs a second file system is left out where there is none."""
    for name in scenarios:
        scenario = SCENARIOS[name]
        if scenario.apart and elsewhere is None:
            continue
        place = Place(folder / name, scenario, elsewhere / name if elsewhere and scenario.apart else None)
        try:
            yield place
        finally:
            place.end()


def fast() -> str | None:
    """A folder whose files stand in memory; None for the usual one for temporary files."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.inject", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-s", "--scenario", action="append", choices=SCENARIOS, help="one of the scenarios; default: all"
    )
    parser.add_argument("-f", "--fault", action="append", choices=FAULTS, help="one of the faults; default: all")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth call")
    parser.add_argument("--at", type=int, metavar="N", help="the Nth call alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="cases at once")
    parser.add_argument("--folder", type=Path, help="where the cases run; default: in memory")
    parser.add_argument("--calls", action="store_true", help="print the calls of the scenarios")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every case and what it printed")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--elsewhere", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    what = Asked(asked.scenario or tuple(SCENARIOS), asked.fault or tuple(FAULTS), asked.every, asked.at)
    if asked.worker:
        _work(what, asked.worker, asked.folder, asked.elsewhere)
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if why := shim.missing():
        raise SystemExit(why)
    with tempfile.TemporaryDirectory(dir=asked.folder or fast()) as folder:
        if asked.calls:
            return _print_calls(what, Path(folder))

        def tell(outcome: Outcome) -> None:
            if outcome.wrong or asked.verbose:
                print(outcome.shown(asked.verbose), flush=True)

        tally = run(what, Path(folder), 1 if asked.at is not None else asked.jobs, tell)
    print(tally)
    return 1 if tally.wrong or not tally.cases else 0


def _print_calls(asked: Asked, folder: Path) -> int:
    if not shim.loaded():
        words = [sys.executable, "-m", "tests.faults.inject", *sys.argv[1:]]
        return subprocess.run(words, env=shim.environment(shim.build(folder))).returncode
    with ExitStack() as stack:
        elsewhere = None
        if other := other_file_system(folder):
            elsewhere = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=other, prefix="modelbuild-")))
        for place in places(asked.scenarios, folder, elsewhere):
            for fault in asked.faults:
                print(f"{place.root.name}, {fault}")
                print("".join(f"{line}\n" for line in calls(place, fault)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One case: a command with a fault at its Nth call, what must hold afterwards, and the build that mends all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.faults import folder as models_folder
from tests.faults import fork, shim
from tests.faults.folder import Look, Theirs
from tests.faults.scenarios import Place

_LOCKS = shim.KINDS["flock"] | shim.KINDS["lock"]
_ALL = sum(shim.KINDS.values())
_CHANGES = _ALL & ~_LOCKS
_NAMES = sum(shim.KINDS[name] for name in ("open", "rename", "link", "unlink", "mkdir", "rmdir", "chmod", "times"))
# SQLite's locks change nothing on disk: a kill at one is a kill at the call after it. Where all of them fail SQLite tries for
# ten seconds each time.
_STEPS = _ALL & ~shim.KINDS["lock"]

Hand = Callable[[Place, fork.Child], list[str]]
"""What somebody else does while a command waits at a call; returns what was wrong with it."""


class Fault(NamedTuple):
    """What happens at the Nth of the calls that it can happen to."""

    what: int
    kinds: int
    error: int = 0
    hand: Hand | None = None


def _build(place: Place, child: fork.Child) -> list[str]:
    return _beside(place, child)


def _clean(place: Place, child: fork.Child) -> list[str]:
    return _beside(place, child, "clean")


def _clean_cache(place: Place, child: fork.Child) -> list[str]:
    return _beside(place, child, "clean", "--cache")


def _remove_cache(place: Place, child: fork.Child) -> list[str]:
    shutil.rmtree(place.cache, ignore_errors=True)
    return []


def _prune(place: Place, child: fork.Child) -> list[str]:
    models_folder.prune(place.models)
    return []


def _remove_sharing(place: Place, child: fork.Child) -> list[str]:
    place.sharing().remove()
    models_folder.prune(place.models)
    return []


FAULTS: Mapping[str, Fault] = {
    "EIO": Fault(shim.FAIL, _ALL, errno.EIO),
    "EIO+": Fault(shim.FAIL_ON, _STEPS, errno.EIO),
    "ENOSPC": Fault(shim.FAIL, _CHANGES, errno.ENOSPC),
    "ENOSPC+": Fault(shim.FAIL_ON, _CHANGES, errno.ENOSPC),
    "EROFS": Fault(shim.FAIL, _CHANGES, errno.EROFS),
    "EROFS+": Fault(shim.FAIL_ON, _CHANGES, errno.EROFS),
    "EACCES": Fault(shim.FAIL, _NAMES, errno.EACCES),
    "EACCES+": Fault(shim.FAIL_ON, _NAMES, errno.EACCES),
    "kill": Fault(shim.KILL, _STEPS),
    "interrupt": Fault(shim.INTERRUPT, _STEPS),
    "build": Fault(shim.PAUSE, _STEPS, hand=_build),
    "clean": Fault(shim.PAUSE, _STEPS, hand=_clean),
    "clean-cache": Fault(shim.PAUSE, _STEPS, hand=_clean_cache),
    "rm-cache": Fault(shim.PAUSE, _STEPS, hand=_remove_cache),
    "prune": Fault(shim.PAUSE, _STEPS, hand=_prune),
    "rm-sharing": Fault(shim.PAUSE, _STEPS, hand=_remove_sharing),
}
"""What is put at a call: an error (`+`: at all later ones, too), a signal, or somebody else's hand."""


class Case(NamedTuple):
    """A fault at the Nth call of a scenario."""

    scenario: str
    fault: str
    nth: int


class Outcome(NamedTuple):
    """What came out of a case."""

    case: Case
    hits: list[str]
    """The calls that the fault met, as `kind path`."""
    code: int | None
    text: str
    wrong: list[str]
    seconds: float

    def encode(self) -> str:
        return json.dumps(self)

    @staticmethod
    def decode(line: str) -> Outcome:
        case, *rest = json.loads(line)
        return Outcome(Case(*case), *rest)

    def shown(self, whole: bool = False) -> str:
        scenario, fault, nth = self.case
        met = self.hits[0] if self.hits else "no call"
        lines = [f"-s {scenario} -f {fault} --at {nth}  exit code {self.code}, {self.seconds:.1f} s, at {met}"]
        lines += [f"  wrong: {each}" for each in self.wrong]
        if whole:
            lines += [f"  | {line}" for line in self.text.splitlines()]
        return "\n".join(lines)


def calls(place: Place, fault: str) -> list[str]:
    """The calls of a scenario's command that a fault can meet, numbered."""
    kinds = FAULTS[fault].kinds
    place.begin()
    if FAULTS[fault].hand is _remove_sharing:
        place.sharing().put()
    log = place.root / "log"
    child = _start(place, Fault(shim.COUNT, kinds), 0, log)
    if child.end().code != int(place.scenario.damaged):
        raise RuntimeError(f"without a fault: {child.text()}")
    return log.read_text().splitlines()


def run_case(place: Place, case: Case) -> Outcome:
    """Run a case from its beginning to the build that mends all."""
    fault = FAULTS[case.fault]
    begun = time.monotonic()
    place.begin()
    sharing = place.sharing() if case.fault == "rm-sharing" else None
    if sharing:
        sharing.put()
    before = models_folder.look(path for theirs in place.theirs() for path in theirs.paths())
    log = place.root / "log"
    reading, asking = os.pipe()
    going, allowing = os.pipe()
    child = _start(place, fault, case.nth, log, asking, going)
    wrong = []
    if fault.hand and child.wait(fork.LIMIT, reading):
        wrong += fault.hand(place, child)
        os.write(allowing, b"\0")
        wrong += _companion_ended(child)
    done = child.end()
    for descriptor in (reading, asking, going, allowing):
        os.close(descriptor)
    hits = [line.partition(" ")[2] for line in log.read_text().splitlines()]
    wrong += _ending(case, done, hits, place)
    wrong += [each for each in models_folder.examine(place.models) if not (place.damaged and place.damaged in each)]
    wrong += _untouched(before)
    wrong += _left(case, done, hits, place)
    wrong += _mended(case, hits, place, before, sharing)
    return Outcome(
        case,
        [hit.replace(f"{place.root}/", "") for hit in hits[:3]],
        done.code,
        done.text,
        wrong,
        time.monotonic() - begun,
    )


def _start(place: Place, fault: Fault, nth: int, log: Path, ask: int = -1, go: int = -1) -> fork.Child:
    roots = [str(path.resolve()) for path in (place.cache, place.models, place.dist)]

    def prepare() -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        shim.arm(roots, fault.kinds, nth, fault.what, fault.error, descriptor, ask, go)

    return fork.Child(place.words(*place.scenario.words), place.output, prepare)


_companions: dict[int, fork.Child] = {}
"""pid of a command that waits -> the command that was run beside it, and now waits for it."""


def _beside(place: Place, child: fork.Child, *words: str) -> list[str]:
    """Run another command until it ends, or waits for a lock that the first one holds."""
    other = fork.Child(place.words(*words), place.root / "companion")
    begun = time.monotonic()
    while other.code is None and time.monotonic() < begun + 0.7:
        other.wait(0.01)
        if other.code is None and other.blocked():
            break
    _companions[child.pid] = other
    return []


def _companion_ended(child: fork.Child) -> list[str]:
    other = _companions.pop(child.pid, None)
    if other is None:
        return []
    # Both go on at once now.
    done = other.end()
    wrong = sound(done)
    if done.code != 0:
        wrong.append(f"the command beside failed: exit code {done.code}, {_first_error(done.text)}")
    return [f"beside, {each}" for each in wrong]


def sound(done: fork.Done) -> list[str]:
    """What no command may ever print, nor how it may end."""
    wrong = []
    for sign in ("Traceback", "internal error", "Exception ignored", "Fatal Python error"):
        if sign in done.text:
            last = [line for line in done.text.splitlines() if line and not line.startswith(" ")][-1:]
            wrong.append(f"{sign.lower()}: {' '.join(last)}")
    if done.code is None:
        wrong.append("hangs")
    elif done.code not in (0, 1, 2, 130, -9):
        wrong.append(f"exit code {done.code}")
    return wrong


_WORDS = {
    errno.EIO: r"input/output error|disk i/o error",
    errno.ENOSPC: r"no space left",
    errno.EROFS: r"read-only file system|readonly|permission denied",
    errno.EACCES: r"permission denied",
}
_DATABASE = r"disk i/o error|unable to open database file|readonly database|no space left|locking protocol"
"""What SQLite makes of any error."""


def _ending(case: Case, done: fork.Done, hits: list[str], place: Place) -> list[str]:
    """Whether a command ended as it may after this fault, and said so."""
    wrong = sound(done)
    fault = FAULTS[case.fault]
    if done.code == 130 and (case.fault != "interrupt" or "interrupted" not in done.text):
        wrong.append("interrupted: by nobody, or without a word")
    if done.code == -9 and case.fault != "kill":
        wrong.append("killed: by nobody")
    if case.fault == "kill" and hits and done.code != -9:
        wrong.append("not killed")
    if done.code == 1 and place.scenario.damaged and "error: " in done.text and "this blob is " in done.text:
        return wrong
    if done.code in (1, 2):
        first = _first_error(done.text)
        if fault.error and not hits:
            wrong.append(f"failed without a fault: {first}")
        elif fault.error:
            words = _WORDS[fault.error]
            if any("/state.sqlite" in hit for hit in hits):
                words += "|" + _DATABASE
            if not re.search(words, first.lower()):
                wrong.append(f"the first error is another: {first}")
            if not any(str(named) in done.text for named in (place.models, place.cache, "dist/")):
                wrong.append(f"no place is named: {first}")
        else:
            wrong.append(f"failed: {first}")
    return wrong


def _first_error(text: str) -> str:
    return next((line for line in text.splitlines() if line.startswith("error: ")), "no error is told")


def _untouched(before: Mapping[str, Look | None]) -> list[str]:
    after = models_folder.look(map(Path, before))
    return [f"of others: {path} was touched" for path, seen in before.items() if after[path] != seen]


def _left(case: Case, done: fork.Done, hits: list[str], place: Place) -> list[str]:
    """Whether nothing is missing after a command that says that all is well, and nothing of ours lies about."""
    wrong = []
    found = place.tree()
    if done.code == 0 and case.fault != "clean":
        expected = place.expected[place.scenario.text]
        wrong += [f"exit code 0 and not there: {path}" for path in expected if found.get(path) != expected[path]]
        if place.scenario.words and case.fault != "rm-cache":
            wrong += [
                f"exit code 0 and still there: {path}" for path in _names(found) - _names(expected) - _theirs(place)
            ]
    lies = models_folder.scratch(place.models)
    # What cannot be removed stays: where the fault met .modelbuild itself, or lasts. And a failed build leaves what it finished.
    met = any(models_folder.SCRATCH in hit for hit in hits)
    excused = case.fault == "kill" or (FAULTS[case.fault].error and (met or case.fault.endswith("+")))
    finished = [path for path in lies if models_folder.BLOB.fullmatch(Path(path).name)]
    if lies and not excused and not (done.code and finished and len(lies) == 1 + len(finished)):
        wrong.append(f"left lying: {lies}")
    return wrong


def _names(found: Mapping[str, bytes]) -> set[str]:
    return {path for path in found if path.startswith("manifests/")}


def _theirs(place: Place) -> set[str]:
    return {str(path.relative_to(place.models)) for each in (*place.theirs(), place.sharing()) for path in each.paths()}


def _mended(
    case: Case, hits: list[str], place: Place, before: Mapping[str, Look | None], sharing: Theirs | None
) -> list[str]:
    """Whether the next commands, without a fault, leave what a clean build leaves."""
    wrong = []
    for words in ([place.scenario.words] if place.scenario.words else []) + [()]:
        done = fork.run(place.words(*words), place.output)
        wrong += [f"after it, {each}" for each in sound(done)]
        if done.code not in (0, int(place.scenario.damaged and bool(words))):
            wrong.append(f"after it, the next command fails: {_first_error(done.text)}")
    wrong += [f"after the next build, {each}" for each in models_folder.examine(place.models) + _untouched(before)]
    found = place.tree()
    expected = place.expected[place.scenario.text]
    theirs = _theirs(place) if sharing and (place.models / models_folder.LIBRARY / "same").exists() else {
        str(path.relative_to(place.models)) for each in place.theirs() for path in each.paths()
    }  # fmt: skip
    wrong += [
        f"after the next build, not as a clean build: {path}" for path in expected if found.get(path) != expected[path]
    ]
    more = {path for path in found if path not in expected and path not in theirs}
    if case.fault == "rm-cache" and hits:
        # With the cache went the knowledge of what was built before.
        more -= {path for text in place.texts for path in place.expected[text]}
    if sharing:
        # What was ours and theirs when it was replaced stayed for them.
        more -= {path for path in more if path.startswith("blobs/")}
    wrong += [f"after the next build, left over: {path}" for path in sorted(more)]
    if lies := models_folder.scratch(place.models):
        wrong.append(f"after the next build, left lying: {lies}")
    if place.sources != {path: Path(path).read_bytes() for path in place.sources}:
        wrong.append("a source was changed")
    return wrong

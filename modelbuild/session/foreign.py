"""Programs of the user's own: the view that they are given, how they are run, and what is believed of what they made."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from modelbuild import contained, machine, tools
from modelbuild import digest as digests
from modelbuild.engine.action import ABSENT, ActionResult, Made, Range
from modelbuild.engine.graph import Source, Step
from modelbuild.engine.sources import changed, unreadable
from modelbuild.engine.store import Store
from modelbuild.errors import Error, Stopped
from modelbuild.files import DAY, make_folder, open_plain, unwritten
from modelbuild.plan.needs import no_memory_for
from modelbuild.session import tool_words
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    import threading

    from modelbuild.engine.budget import Budget
    from modelbuild.engine.sources import Sources
    from modelbuild.tensors.tensor import TensorTable


class Means(Protocol):
    """What a run needs of the worker."""

    store: Store
    sources: Sources
    budget: Budget
    memory: int
    stop: threading.Event
    report: Callable[[dict[str, Any]], None]

    def need_space(self, size: int, folder: str, /) -> None: ...


FOLDER = "tools"
"""Of the cache: what tools said, and where they work."""
LOGS = "logs"
_LOCK = "lock"
KEPT = 30 * DAY
"""Seconds for which is kept what a tool said."""
_OWN = ("home", "tmp", "nothing")
"""Folders of a tool's own, in the one that it may write."""
TRIES = 8
"""Times that a program is run which ends before it has said all."""

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
"""All of the environment of a tool, besides folders of its own."""


def table(store: Store, artifact: str) -> TensorTable:
    """The tensor table of a GGUF file that a tool made, with digests, as it lies in the store. Raises Damaged where it isn't whole."""
    from modelbuild.tensors.formats import gguf

    with store.open(artifact) as file:
        store.verify(artifact, file)
        path = file.name
    return gguf.survey(path).table


class _Linked(NamedTuple):
    """A source that a tool reads where it lies, and its stat before."""

    source: Source
    before: os.stat_result


class Program:
    """One run of a tool, for an action with these digests of its inputs."""

    def __init__(self, action: str, inputs: Mapping[str, str], step: Step, worker: Means) -> None:
        self._action = action
        self._digests = inputs
        self._step = step
        self._worker = worker
        self._linked: list[_Linked] = []
        self._sizes = tools.Sizes(0, 0)
        self._architecture = ""

    def run(self, name: str, options: Mapping[str, Any]) -> Made:
        """Run the tool, read what it made, and take that into the store."""
        tool, worker = tools.get(name), self._worker
        logs = os.path.join(top := os.path.join(worker.store.root, FOLDER), LOGS)
        make_folder(logs)
        _sweep(top)
        log = os.path.join(logs, f"{digests.file_name(self._action)}.log")
        with _workplace(top) as folder:
            command = [*self._view(folder), *tool.arguments(options, list(self._digests))]
            if (error := tools.encoder(name, self._architecture)) is not None:
                raise error
            needed = tool.needs(options, self._sizes)
            worker.need_space(needed.disk, folder)
            _need_memory(tool.TITLE, needed.memory)
            with worker.budget.share(min(needed.memory, worker.memory), needed.memory):
                for left in reversed(range(TRIES)):
                    said = self._said(tool, command, folder, log)
                    try:
                        return self._taken(tool, os.path.join(folder, tools.MADE, tool.OUTPUT), said, log)
                    except tools.Cut:
                        if not left:
                            break
            raise Error(
                f"{tool.TITLE} did not say how it ended",
                facts=[*tool_words.last(said), ("log", log)],
                hint="build again",
            )

    def _said(self, tool: tools.Tool, command: Sequence[str], folder: str, log: str) -> str:
        """Run it once; returns what it said. Raises Error where it fails, Stopped where the build is stopped."""
        worker = self._worker
        ended = contained.run(
            command,
            folder=os.path.join(folder, tools.MADE),
            within=os.path.join(folder, tools.INPUT),
            environment={**ENVIRONMENT, **_folders(folder)},
            log=log,
            stop=worker.stop,
        )
        said = tool_words.read(log)
        given = ended.given
        worker.report(
            {
                "event": "tool",
                "step": self._step.name,
                "tool": tool.TITLE,
                "network": not given.network,
                "files": not given.files,
                "processes": not given.processes,
                "log": log,
            }
        )
        if ended.code:
            raise tool_words.failed(tool.TITLE, ended.code, said, log)
        # What it was given may have been written to meanwhile, also by itself.
        for source, before in self._linked:
            if not unwritten(before, os.stat(source.path)):
                worker.sources.forget(source.path)
                raise changed(source.path)
        return said

    # What it sees

    def _view(self, folder: str) -> list[str]:
        """Make the folders that it sees; returns what is started."""
        for name in (tools.PROGRAM, tools.INPUT, *(f"{tools.MADE}/{each}" for each in _OWN)):
            os.makedirs(os.path.join(folder, *name.split("/")))
        copied: dict[str, str] = {}
        start: list[str] = []
        for role, ref in self._step.inputs:
            digest = self._digests[role]
            if digest == ABSENT:
                continue
            path = os.path.join(folder, *role.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if isinstance(ref, str):
                os.symlink(self._artifact(role, digest), path)
            elif role == tools.INTERPRETER:
                self._link(ref, digest)
                start = [ref.path, "-s", *start]
            elif role.startswith(tools.PROGRAM + "/") and not role.endswith(tools.DATA):
                # Not by links: an interpreter and a loader of libraries follow them, to what was not hashed.
                self._copy(ref, digest, path, copied)
                # The first one is the program.
                start += [path] if len(copied) == 1 and path in copied.values() else []
            else:
                self._link(ref, digest)
                if role.startswith(tools.INPUT + "/"):
                    self._count(ref, digest)
                os.symlink(os.path.realpath(ref.path), path)
        for name in (tools.PROGRAM, tools.INPUT):
            for below, _, _ in os.walk(os.path.join(folder, name)):
                os.chmod(below, 0o555)
        return start

    def _link(self, source: Source, digest: str) -> None:
        """Note a source that is read where it lies. Raises Error where it isn't what it was."""
        self._linked.append(_Linked(source, self._worker.sources.holds(source, digest)))

    def _count(self, source: Source, digest: str) -> None:
        """Count a source to what the tool has to do with."""
        size, known = self._linked[-1].before.st_size, self._sizes
        self._sizes = known._replace(inputs=known.inputs + size, text=known.text + (0 if source.is_weights else size))
        if source.is_weights and (detail := self._worker.sources.detail(digest)) is not None:
            from modelbuild.tensors.tensor import TensorTable

            tensors = TensorTable.decode(detail).tensors.values()
            largest = max([known.largest, *(tensor.length for tensor in tensors)])
            self._sizes = self._sizes._replace(largest=largest)

    def _artifact(self, role: str, digest: str) -> str:
        """The path of what another step made, whole."""
        with self._worker.store.open(digest) as file:
            self._sizes = self._sizes._replace(inputs=self._sizes.inputs + os.fstat(file.fileno()).st_size)
            self._worker.store.verify(digest, file)
            path = os.path.realpath(file.name)
        if role == f"{tools.MODEL}/model.gguf":
            from modelbuild.tensors.formats import gguf

            table = gguf.read_header(path).table
            self._architecture = str(gguf.scalar(table.metadata, "general.architecture"))
            shapes = {name: tensor.shape for name, tensor in table.tensors.items()}
            self._sizes = self._sizes._replace(vocabulary=tools.vocabulary(shapes))
        return path

    def _copy(self, source: Source, digest: str, path: str, copied: dict[str, str]) -> None:
        """Copy a file of the tool's own, and see that it is what was hashed."""
        if digest in copied:
            os.link(copied[digest], path)
            return
        running = digests.Xxh3()
        try:
            with open_plain(os.path.realpath(source.path)) as original, open(path, "xb") as copy:
                while data := original.read(digests.CHUNK):
                    if self._worker.stop.is_set():
                        raise Stopped
                    running.update(data)
                    copy.write(data)
                os.fchmod(copy.fileno(), 0o555)
        except FileNotFoundError:
            raise changed(source.path) from None
        except OSError as error:
            raise unreadable(source.path, error) from error
        if running.digest() != digest:
            self._worker.sources.forget(source.path)
            raise changed(source.path)
        copied[digest] = path

    # What it made

    def _taken(self, tool: tools.Tool, path: str, said: str, log: str) -> Made:
        """Read what it made, and take it in."""
        try:
            if tool.OUTPUT:
                _check_file(path)
            found = tool.read(path, said)
        except (Error, OSError) as error:
            what = error.what if isinstance(error, Error) else str(error.strerror)
            facts = [*(error.facts if isinstance(error, Error) else ()), *tool_words.last(said), ("log", log)]
            hint = error.hint if isinstance(error, Error) else None
            raise Error(f"what {tool.TITLE} made cannot be used: {what}", facts=facts, hint=hint) from error
        store = self._worker.store
        if found.answer is not None:
            return Made(store.put(found.answer), written=len(found.answer))
        with store.temporary() as file:
            if not file.link(path):
                raise Error(f"what {tool.TITLE} made cannot be moved into the cache", path=store.root)
            os.unlink(path)
            os.chmod(file.path, 0o644)
            sha, length = hashlib.sha256(), 0
            with open(file.path, "rb", buffering=0) as made:
                while data := made.read(digests.CHUNK):
                    if self._worker.stop.is_set():
                        raise Stopped
                    sha.update(data)
                    length += len(data)
                os.fsync(made.fileno())
            result = ActionResult("sha256:" + sha.hexdigest(), length)
            store.adopt(file.path, result.artifact, None)
        ranges = [(digest, Range(result.artifact, at, count, digest)) for digest, at, count in found.tensors]
        return Made(result, tuple(dict(ranges).items()), written=length)


def _folders(folder: str) -> dict[str, str]:
    """Variables that name folders of the tool's own, instead of the user's."""
    home, temporary, empty = (os.path.join(folder, tools.MADE, name) for name in _OWN)
    libraries = os.path.join(folder, tools.PROGRAM)
    return {
        "HOME": home,
        "HF_HOME": os.path.join(home, "huggingface"),
        "XDG_CACHE_HOME": os.path.join(home, "cache"),
        "TMPDIR": temporary,
        "PATH": empty,
        # Before the folder that a binary was built for: the libraries there were not hashed.
        ("DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"): libraries,
    }


def _check_file(path: str) -> None:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        raise Error("there is none") from None
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        raise Error("it is not a file of its own")


def _need_memory(title: str, needed: int) -> None:
    available = machine.available()
    if available is not None and available < needed:
        raise no_memory_for(title, needed, available)


# Where it works


@contextlib.contextmanager
def _workplace(top: str) -> Iterator[str]:
    """A folder of its own, locked while it is used; nothing stays of it."""
    import fcntl

    folder = os.path.join(os.path.realpath(top), "work-" + os.urandom(6).hex())
    os.mkdir(folder)
    descriptor = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        _remove(folder)
        os.close(descriptor)


def _sweep(top: str) -> None:
    """Remove what killed builds left, and logs of long ago. Never raises."""
    import fcntl
    import time

    with contextlib.suppress(OSError), os.scandir(top) as scan:
        for entry in scan:
            if not entry.name.startswith("work-") or not entry.is_dir(follow_symlinks=False):
                continue
            with contextlib.suppress(OSError):
                descriptor = os.open(os.path.join(entry.path, _LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(entry.path)
                finally:
                    os.close(descriptor)
    with contextlib.suppress(OSError), os.scandir(os.path.join(top, LOGS)) as scan:
        for entry in scan:
            with contextlib.suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > KEPT:
                    os.unlink(entry.path)


def _remove(folder: str) -> None:
    for name in (tools.PROGRAM, tools.INPUT):
        for below, _, _ in os.walk(os.path.join(folder, name)):
            with contextlib.suppress(OSError):
                os.chmod(below, 0o755)
    shutil.rmtree(folder, ignore_errors=True)

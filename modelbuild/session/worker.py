"""Run one action: open its inputs, call the step, store the result. This joins the engine with the steps."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from modelbuild import digest as digests
from modelbuild import steps
from modelbuild.engine import spare, unfinished
from modelbuild.engine.action import ABSENT, Action, ActionResult, Made, Range
from modelbuild.engine.budget import Budget
from modelbuild.engine.build import Event
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.engine.sources import Sources, changed, unreadable
from modelbuild.engine.store import Damaged
from modelbuild.engine.unfinished import Unfinished
from modelbuild.errors import Error, Stopped
from modelbuild.files import UNFINISHED, Temporary, clear_temporaries, cloned, free, reason
from modelbuild.publish.writable import named
from modelbuild.session.leaves import Leaves, absent, at_hand, needed
from modelbuild.session.settings import cache_limit
from modelbuild.tensors import formats

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from modelbuild.tensors.evaluate import Region
    from modelbuild.tensors.file_digest import RunningDigest
    from modelbuild.tensors.materialize import Layout, Span
    from modelbuild.tensors.recipe import Expression, Recipe
    from modelbuild.tensors.tensor import TensorTable

    Find = Callable[[Iterable[str]], Mapping[str, tuple[Region, str]]]


_SPACE = "free some space, or name other folders with --cache and --models; finished steps are cached"


TRIES = 5
"""Times that a step is begun whose cache or models folder goes under its hands."""


class Worker:
    """Runs actions with the machine's means: `jobs` threads, `memory` bytes for the tensors under way of all together."""

    def __init__(
        self,
        cache: LocalCache,
        sources: Sources,
        *,
        jobs: int,
        memory: int,
        scratch: Callable[[], str | None],
        report: Callable[[Event], None],
        force: bool = False,
    ) -> None:
        self.cache = cache
        self.store = cache.store
        self.sources = sources
        self.jobs = jobs
        self.memory = memory
        self.scratch = scratch
        self.report = report
        self.force = force
        self.graph: Graph | None = None
        self.stop = threading.Event()
        self.budget = Budget(memory, self.stop)
        self.ran = False
        self._swept: set[str] = set()
        self._pool: ThreadPoolExecutor | None = None

    def run(self, action: Action, step: Step) -> Made:
        """Make the artifact of an action. Raises Error for what a user can mend, Damaged where an input artifact is not what it was."""
        module = steps.module(action.kind)
        if away := [source.path for source in step.sources if source.is_away()]:
            raise absent(self.cache, *away, force=self.force)
        for left in reversed(range(TRIES)):
            try:
                if not self.ran:
                    self.ran = True
                    for folder in filter(None, (self.store.scratch, self.scratch())):
                        clear_temporaries(folder)
                made = module.run(json.loads(action.parameters), Inputs(action, step, self))
                return made if isinstance(made, Made) else Made(self.store.put(made), written=len(made))
            except FileNotFoundError as error:
                # Somebody deleted the cache, or emptied the models folder, in the middle: that costs time.
                if not left:
                    raise self.failed(error) from error
            except OSError as error:
                raise self.failed(error) from error
        raise AssertionError

    def reading(self, sources: Sources) -> Worker:
        """The same worker, with the same threads and memory, for actions that read other sources."""
        self.pool()
        other = copy(self)
        other.sources = sources
        return other

    def sweep(self, folder: str) -> None:
        """Remove the unfinished files that were left in a folder for too long, once."""
        if folder not in self._swept:
            self._swept.add(folder)
            unfinished.sweep(folder, cache_limit())

    def need_space(self, size: int, folder: str) -> None:
        """Raise an Error before anything is computed where the result cannot fit."""
        left = free(folder)
        if left is not None and left < size:
            # What others left unfinished goes first: it costs only time.
            clear_temporaries(folder, UNFINISHED)
            left = free(folder)
        if left is not None and left < size:
            spare.clear(folder, size - left)
            left = free(folder)
        if left is not None and left < size:
            raise Error(
                "no space left on the disk",
                path=folder,
                facts=[("needed", f"{size:,} bytes"), ("free", f"{left:,} bytes")],
                hint=_SPACE,
            )

    def failed(self, error: OSError) -> Error:
        """Say what the system refused while a step ran."""
        place = named(error, self.scratch() or self.store.root)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            left = free(place)
            return Error(
                "no space left on the disk",
                path=place,
                facts=[("free", f"{left:,} bytes")] if left is not None else [],
                hint=_SPACE,
            )
        if error.errno == errno.ENOENT and self.sources.is_away(place):
            return absent(self.cache, place, force=self.force)
        return Error(reason(error), path=place)

    def most(self) -> int:
        """Bytes of memory for a step that uses every core: some are left for those beside it, which would wait for all of it."""
        return self.memory if self.jobs == 1 else self.memory - self.memory // 4

    def pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.jobs, thread_name_prefix="tensor")
        return self._pool

    def close(self) -> None:
        self.stop.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class Inputs:
    """What a step is given: its inputs by role. It sees no store, no path, no name of its own, no clock and no network."""

    def __init__(self, action: Action, step: Step, worker: Worker) -> None:
        self._digests = dict(action.inputs)
        self._action = action.digest
        self._step = step
        self._worker = worker
        self._leaves = Leaves(worker.sources, worker.cache, partial(needed, worker.graph, step), force=worker.force)

    def roles(self) -> list[str]:
        return list(self._digests)

    def file(self, role: str) -> bytes | None:
        """The bytes of a small source; None where it is absent. Raises Error where it isn't what it was when the build began."""
        digest = self._digests.get(role, ABSENT)
        if digest == ABSENT:
            return None
        path = self._worker.sources.source(digest).path
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise unreadable(role, error).of_input() from error
        if digests.xxh3(data) != digest:
            raise self._changed(path).replace(path=None, input=role)
        return data

    def artifact(self, role: str) -> bytes:
        """The bytes of what another step made."""
        return self._worker.store.read(self._digests[role])

    def recipe(self, role: str) -> Recipe:
        """The recipe that another step made."""
        from modelbuild.tensors.recipe import Recipe

        return Recipe.decode(self.artifact(role))

    def entry(self, role: str) -> ActionResult:
        """Digest and size of what another step made."""
        digest = self._digests[role]
        path = self._worker.store.path(digest)
        if path is None:
            raise Damaged(digest)
        return ActionResult(digest, os.stat(path).st_size)

    def tables(self) -> list[tuple[str, TensorTable]]:
        """The tensor tables of the weights files among the sources, or of the file that a tool made: (role, table)."""
        from modelbuild.tensors.tensor import TensorTable

        found = []
        for role, digest in self._digests.items():
            if digest.startswith("xxh3:") and (detail := self._worker.sources.detail(digest)) is not None:
                found.append((role, TensorTable.decode(detail)))
            elif digest.startswith("sha256:") and role == "file":
                from modelbuild.session import foreign

                found.append((role, foreign.table(self._worker.store, digest)))
        return found

    def shared(self, what: object, make: Callable[[], Any]) -> Any:
        return make()

    def program(self, tool: str, options: Mapping[str, Any]) -> Made:
        """Run a tool in a view of the inputs, read what it made, and take that."""
        from modelbuild.session import foreign

        return foreign.Program(self._action, self._digests, self._step, self._worker).run(tool, options)

    def copy(self, role: str, link: bool) -> Made:
        """Take a source file as it is: by hard link if `link`, else by reflink where the file system can, else by a copy."""
        import hashlib

        from modelbuild import direct

        worker, digest = self._worker, self._digests[role]
        source = worker.sources.source(digest)
        sha = hashlib.sha256()
        done = 0
        memory = direct.BUFFERS * direct.BUFFER + digests.CHUNK
        with worker.budget.share(memory, memory), worker.store.temporary(worker.scratch()) as file:
            shared = (link and file.link(source.path)) or cloned(source.path, file.fileno())
            try:
                running = _running(source)
            except Error:  # it could be read when the build began
                raise self._changed(source.path) from None
            # A clone is what will be published, whatever is written to the source meanwhile.
            with (
                open(file.path if shared else source.path, "rb", buffering=0) as original,
                direct.Growing(file.fileno()) if not shared else nullcontext() as growing,
            ):
                size = os.fstat(original.fileno()).st_size
                if growing:
                    direct.reserve(file.fileno(), size)
                while data := original.read(digests.CHUNK):
                    if worker.stop.is_set():
                        raise Stopped
                    sha.update(data)
                    running.update(data)
                    done += len(data)
                    if growing:
                        growing.write(data)
                    self._progress(done, size)
                if growing:
                    growing.finish()
            if running.digest() != digest:
                raise self._changed(source.path)
            result = ActionResult("sha256:" + sha.hexdigest(), done)
            worker.store.adopt(file.path, result.artifact, worker.scratch())
        return Made(result, written=0 if shared else done)

    def values(self, x: Expression) -> bytes:
        """The bytes of a tensor of the weights files among the sources, or of what is made of them."""
        from modelbuild.tensors.evaluate import Mismatch, Reader

        worker = self._worker
        needed = x.footprint(0, prod(x.shape))
        try:
            with (
                worker.budget.share(needed, needed) as memory,
                Reader(worker.stop, {}, self._leaves.region, memory) as reader,
            ):
                return bytes(reader.evaluate(x, "values", 0, prod(x.shape)))
        except Mismatch as mismatch:
            if artifact := self._leaves.made.get(mismatch.region.path):
                worker.store.forget(artifact)
                raise Damaged(artifact) from mismatch
            raise self._changed(mismatch.region.path) from mismatch

    def materialize(self, recipe: Recipe, *, stored: bool = False) -> Made:
        """Make the GGUF file that a recipe describes; one that is `stored` goes into no models folder."""
        from modelbuild.tensors.materialize import layout

        return self._materialized(recipe, layout(recipe), None if stored else self._worker.scratch())

    def pack(self, recipe: Recipe) -> Made:
        """Make the safetensors file that the recipe of a checkpoint describes; it goes into no models folder."""
        from modelbuild.tensors.materialize import packed

        return self._materialized(recipe, packed(recipe), None)

    def _materialized(self, recipe: Recipe, layout: Layout, scratch: str | None) -> Made:
        worker, folder = self._worker, scratch or self._worker.store.scratch
        worker.sweep(folder)
        blobs: dict[str, str] = {}

        def find(keys: Iterable[str]) -> Mapping[str, tuple[Region, str]]:
            return {} if worker.force else at_hand(worker.cache, keys, blobs, scratch)

        with nullcontext() if worker.force else worker.cache.gathered(self._action, recipe):
            return self._made(recipe, layout, find, blobs, scratch)

    def _made(self, recipe: Recipe, layout: Layout, find: Find, blobs: Mapping[str, str], scratch: str | None) -> Made:
        """Make a file; `blobs` are the artifacts that `find` has led to, by path."""
        from modelbuild.tensors.evaluate import Gone, Mismatch
        from modelbuild.tensors.materialize import Resources, materialize

        worker, folder = self._worker, scratch or self._worker.store.scratch
        least = max((entry.expression.footprint(0, entry.expression.unit) for entry in recipe.tensors), default=0)
        while True:
            try:
                with worker.budget.share(least, worker.most()) as memory, self._file(scratch) as file:
                    worker.need_space(layout.size - 512 * os.fstat(file.fileno()).st_blocks, folder)
                    made = materialize(
                        recipe,
                        file.fileno(),
                        laid=layout,
                        find=find,
                        open_leaf=self._leaves.region,
                        resources=Resources(
                            worker.pool(), worker.jobs, memory, worker.stop, self._progress, _noting(file)
                        ),
                    )
                    worker.store.adopt(file.path, made.digest, scratch)
            except Gone:
                # Another build moved or dropped a blob between the look-up and the reading: look again.
                continue
            except Mismatch as mismatch:
                if artifact := self._leaves.made.get(mismatch.region.path):
                    worker.store.forget(artifact)
                    raise Damaged(artifact) from mismatch
                if mismatch.region.path not in blobs:
                    raise self._changed(mismatch.region.path) from mismatch
                # A damaged blob loses its entries, and its tensors are computed.
                worker.store.forget(blobs[mismatch.region.path])
                continue
            tensors = tuple((span.key, Range(made.digest, span.offset, span.length, span.xxh3)) for span in made.spans)
            return Made(ActionResult(made.digest, made.size), tensors, made.computed, made.reused, made.size)

    @contextmanager
    def _file(self, scratch: str | None) -> Iterator[Temporary]:
        """The file to make the artifact in: the one of an earlier build that was stopped, if there is one."""
        worker = self._worker
        file: Unfinished | None = None
        with suppress(OSError):
            file = Unfinished(worker.cache, self._action, scratch or worker.store.scratch)
        if file is not None and worker.force:
            # What is forced is made by this build alone.
            file.close()
            file = None
        if file is None:
            with worker.store.temporary(scratch) as plain:
                yield plain
            return
        try:
            yield file
        except BaseException as error:
            # Not where the disk is at fault, nor the model: it would take space for nothing, unless it did before.
            faulty = isinstance(error, OSError) or (isinstance(error, Error) and not file.resumed)
            if worker.stop.is_set() or not faulty:
                file.keep()
            raise
        finally:
            file.close()

    def _progress(self, done: int, total: int) -> None:
        self._worker.report({"event": "progress", "step": self._step.name, "done": done, "total": total})

    def _changed(self, path: str) -> Error:
        self._worker.sources.forget(path)
        return changed(path)


def _noting(file: Temporary) -> Callable[[Span], None]:
    """What hears of each tensor that is done in a file."""
    return (lambda span: file.done(*span)) if isinstance(file, Unfinished) else (lambda span: None)


def _running(source: Source) -> digests.Xxh3 | RunningDigest:
    """Takes the digest of a source while its bytes are copied."""
    if not source.is_weights:
        return digests.Xxh3()
    return formats.get(source.form).running(source.path)

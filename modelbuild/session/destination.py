"""Where the models of a build go: into the models folder and into files of `output`, or only into files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from modelbuild.engine.action import ActionResult
from modelbuild.engine.build import Event
from modelbuild.engine.graph import Output
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.files import expand
from modelbuild.ollama.library import SCRATCH
from modelbuild.project.outputs import SUFFIX
from modelbuild.publish.exported import Exported
from modelbuild.session.session import Session

if TYPE_CHECKING:
    from modelbuild.publish.exported_tree import Laid
    from modelbuild.session.exports import Export

Finished = tuple[Output, ActionResult, Sequence[ActionResult]]
"""An output with its manifest and blobs."""

Stats = dict[str, os.stat_result]


class Destination(Protocol):
    """What a build asks of where its models go."""

    folder: str
    """Where large artifacts need room."""

    def check(self, outputs: Sequence[Output]) -> None:
        """Raise an Error where nothing can be put there."""

    def stale(self) -> Event:
        """What lies there that the project once put there and no longer declares, as members of an event."""

    def doubt(self) -> None:
        """Hash every file before it is trusted."""

    def scratch(self) -> str | None:
        """The folder to make large artifacts in; None means the store."""

    def misplaced(self, output: Output) -> list[Error]:
        """The errors that a put would have, as far as a look can tell."""

    def put(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        """Put an output there, or see that it stands. Returns whether anything changed. Raises Error and Damaged."""

    def together(self, outputs: Sequence[Finished]) -> None:
        """Put many outputs at once, as far as that goes; `put` is asked for each afterwards."""

    def restore(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        """Put again what somebody took since. Returns whether any was gone."""

    def finished(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> Stats | None:
        """The files that an output stands in, and their stats; None where one is not as we left it."""

    def tidy(self) -> bool:
        """Leave nothing behind; never raises. Returns whether all went well."""

    def events(self, output: Output, blobs: Sequence[ActionResult]) -> list[Event]:
        """The events of an output that was put."""


class Files:
    """Only files: the models folder is neither written nor needed."""

    def __init__(self, session: Session, exported: Exported, wanted: Sequence[Export] = ()) -> None:
        self.folder = session.store.root
        self._exported = exported
        self._exports = wanted
        self._laid: dict[str, list[Laid]] = {}
        self._session = session
        library = session.models.library
        scratch = os.path.join(library.root, SCRATCH)
        # Nobody removes a file beside these: a models folder may be where a user's own files are.
        self._forbidden = [library.blobs, library.manifests, scratch, session.store.root]
        self._changed: set[str] = set()

    def check(self, outputs: Sequence[Output]) -> None:
        self.expect(outputs)
        for output in outputs:
            for error in self.misplaced(output):
                raise error

    def expect(self, outputs: Sequence[Output]) -> None:
        """Tell the exports what is to come."""
        for each in self._exports:
            each.expect(outputs)

    def stale(self) -> Event:
        return {}

    def doubt(self) -> None:
        """Files are never believed to hold anything but what their stat was noted with."""

    def scratch(self) -> str | None:
        return None

    def misplaced(self, output: Output) -> list[Error]:
        wanted = self._exports_of(output)
        if not output.files and not wanted:
            return []
        found = self._exported.misplaced(output, self._sources, self._forbidden)
        for each in wanted:
            found += each.misplaced(output, self._sources, self._forbidden)
        if found:
            return found
        paths = [path for path, _ in output.files] + [path for each in wanted for path in each.paths(output)]
        return [_joins(path) for path in paths if path.endswith(SUFFIX) and self._is_among_weights(path)]

    def _exports_of(self, output: Output) -> list[Export]:
        return [each for each in self._exports if each.has(output)]

    @cached_property
    def _sources(self) -> set[str]:
        return self._session.inputs()

    def _is_among_weights(self, path: str) -> bool:
        """Whether a file would be one more of the GGUF files of a folder that a model is made from."""
        folder = os.path.dirname(os.path.realpath(path))
        if not any(each.endswith(SUFFIX) and os.path.dirname(each) == folder for each in self._sources):
            return False
        lines = [line for variant in self._session.project.variants for line in variant.froms]
        with contextlib.suppress(Error):
            return any(os.path.realpath(expand(line.text, line.folder)) == folder for line in lines)
        return False

    def put(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        results = _by_name(output, blobs)
        changed = self._exported.put(output, results)
        self._changed.update(changed)
        self._laid[output.label] = [
            file for each in self._exports_of(output) for file in each.put(output, manifest, results)
        ]
        return bool(changed) or any(file.changed for file in self._laid[output.label])

    def together(self, outputs: Sequence[Finished]) -> None:
        """Files are put one by one."""

    def restore(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        return False

    def finished(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> Stats | None:
        results = _by_name(output, blobs)
        found = self._exported.finished(output, results)
        for each in self._exports_of(output):
            more = each.standing(output, manifest, results) if found is not None else None
            found = {**found, **more} if found is not None and more is not None else None
        return found

    def tidy(self) -> bool:
        try:
            for each in self._exports:
                each.settle()
        except (OSError, Error, Damaged):
            return False
        return True

    def events(self, output: Output, blobs: Sequence[ActionResult]) -> list[Event]:
        results = _by_name(output, blobs)
        files = [(path, results[blob].size, path in self._changed) for path, blob in output.files]
        return [
            {"event": "file", "path": path, "label": output.label, "bytes": size, "changed": changed}
            for path, size, changed in (*files, *self._laid.get(output.label, ()))
        ]


class Everywhere:
    """The models folder, and the files that outputs name besides."""

    def __init__(self, session: Session) -> None:
        self._models = session.models
        self._files = Files(session, session.exported(), _declared(session))
        self._session = session
        self.folder = session.models.root

    def check(self, outputs: Sequence[Output]) -> None:
        self._files.expect(outputs)
        self._models.check_writable()

    def stale(self) -> Event:
        found = {"names": self._session.stale(), "files": _stale_files(self._session)}
        return found if any(found.values()) else {}

    def doubt(self) -> None:
        self._models.doubt()

    def scratch(self) -> str | None:
        return self._models.scratch()

    def misplaced(self, output: Output) -> list[Error]:
        return [*self._models.misplaced(output), *self._files.misplaced(output)]

    def put(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        # Files have events of their own.
        changed = self._models.publish_all(output, manifest, blobs[: len(output.blobs)])
        self._files.put(output, manifest, blobs)
        return changed

    def together(self, outputs: Sequence[Finished]) -> None:
        self._models.publish_together(
            (output, manifest, blobs[: len(output.blobs)]) for output, manifest, blobs in outputs
        )

    def restore(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        return self._models.restore(output, manifest, blobs[: len(output.blobs)])

    def finished(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> Stats | None:
        models = self._models.finished(output, manifest, blobs[: len(output.blobs)])
        files = self._files.finished(output, manifest, blobs)
        return {**models, **files} if models is not None and files is not None else None

    def tidy(self) -> bool:
        settled, swept = self._files.tidy(), False
        with contextlib.suppress(OSError, Error):
            self._models.sweep_when_due()
            swept = True
        return self._models.tidy() and swept and settled

    def events(self, output: Output, blobs: Sequence[ActionResult]) -> list[Event]:
        return self._files.events(output, blobs)


def _declared(session: Session) -> Sequence[Export]:
    """The folders that the project exports to. What exports need is imported only where there are some."""
    if not any(output.exports for output in session.graph.outputs):
        return ()
    from modelbuild.session import exports

    return exports.declared(session)


def _stale_files(session: Session) -> list[str]:
    if not session.exported().of_exports():
        return session.stale_files()
    from modelbuild.session import exports

    return exports.stale_files(session)


def _joins(path: str) -> Error:
    what = "is in a folder of GGUF files that a model is built from: the next build would read it too"
    return Error(what, path=path, facts=[("folder", os.path.dirname(path))], hint="name a file in another folder")


def _by_name(output: Output, blobs: Sequence[ActionResult]) -> Mapping[str, ActionResult]:
    return dict(zip(output.made, blobs, strict=True))

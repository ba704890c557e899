"""Exports of a project: some of its models in a folder, in one shape; each model is put when it is finished."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from modelbuild import shapes
from modelbuild.digest import sha256
from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Output
from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.project.outputs import file_name
from modelbuild.publish import spliced
from modelbuild.publish.exported_tree import ExportedTree, Laid, path_of
from modelbuild.session import finishing
from modelbuild.session.session import Selection, Session
from modelbuild.shapes._finished import AHEAD, Copy, Entry, Finished, Spliced
from modelbuild.shapes._names import safe
from modelbuild.tensors.formats import limit as limits
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed


class Wanted(NamedTuple):
    """Where models are wanted, and how: the strings of `Output.exports`.

    split  how large a file may be, as `limits.limit` reads it; "" for the shape's own
    link   "hard" for hard links
    """

    shape: str
    root: str
    split: str = ""
    link: str = ""

    @property
    def limit(self) -> limits.Limit | None:
        asked = self.split or shapes.split_of(self.shape)
        return limits.limit(asked) if asked and shapes.splits(self.shape) else None


class Ledger(NamedTuple):
    """What an export has put into its folder: the models as they were then, by label, and the files of each."""

    models: dict[str, bytes]
    paths: dict[str, str]

    def encode(self) -> bytes:
        texts = {label: data.decode("utf-8", "surrogatepass") for label, data in self.models.items()}
        return json.dumps([texts, self.paths]).encode()

    @staticmethod
    def decode(data: bytes | None) -> Ledger:
        models, paths = json.loads(data) if data else ({}, {})
        return Ledger({label: text.encode("utf-8", "surrogatepass") for label, text in models.items()}, paths)


class Export:
    """One export: a shape, a folder, and the models that are wanted there."""

    def __init__(
        self, session: Session, wanted: Wanted, outputs: Sequence[Output], exported: ExportedTree, key: str
    ) -> None:
        self.wanted = wanted
        self.outputs = tuple(outputs)
        self._session = session
        self._exported = exported
        self._shape = shapes.get(wanted.shape)
        self._key = f"export:{sha256(key.encode())}"
        self._stems = stems(outputs)
        self._awaited: set[str] = set()
        self._put: set[str] = set()

    def has(self, output: Output) -> bool:
        return any(each.label == output.label for each in self.outputs)

    def misplaced(self, output: Output, sources: Collection[str], ours: Iterable[str]) -> list[Error]:
        """What stands against putting a model there, as far as a look tells."""
        try:
            entries = [each for each in self._entries_ahead if each.label in ("", output.label)]
        except Error as error:
            return [error]
        checkpoints = {os.path.dirname(path) for path in self._session.inputs() if path.endswith(".safetensors")}
        for entry in entries:
            path = path_of(self.wanted.root, entry)
            if os.path.basename(path) == "Modelfile" and os.path.dirname(os.path.realpath(path)) in checkpoints:
                what = "is the checkpoint that this build reads: a Modelfile in it would change what the folder means"
                return [Error(what, path=os.path.dirname(path), hint="name another folder")]
        return self._exported.obstacles(self.wanted.root, entries, sources, ours)

    def paths(self, output: Output) -> list[str]:
        """The files of a model, as far as they are known before it is made."""
        return [path_of(self.wanted.root, each) for each in self._entries_ahead if each.label == output.label]

    def left_out(self) -> Iterator[str]:
        """What the shape leaves out of the models, each kind once."""
        for kind, why in shapes.leaves_out(self.wanted.shape).items():
            labels = [each.label for each in self._ahead if any(each.of(kind))]
            if labels:
                named = listed((f"'{label}'" for label in labels), 5)
                yield f"left out of {self.wanted.root}: the {kind} of {named}; {why}"

    def expect(self, outputs: Iterable[Output]) -> None:
        """Tell which models are to be put: what is said of all models is put with the last of them, once."""
        self._awaited = {output.label for output in outputs if self.has(output)}

    def put(self, output: Output, manifest: ActionResult, results: Mapping[str, ActionResult]) -> list[Laid]:
        """Put a finished model, and with the last one what is said of all of them. Raises Error and Damaged."""
        is_last = self._awaited <= {output.label}
        with self._session.store.lock(self._key):
            ledger = self._ledger()
            model = self._finished(output, manifest, results)
            ledger.models[output.label] = model.encode()
            entries = self._tree(self._all(ledger, model))
            laid = self._lay(ledger, entries, [each for each in _own(entries, model) if each.label or is_last])
            self._awaited.discard(output.label)
            self._put.add(output.label)
            if is_last:
                self._remove_old(ledger, entries)
            self._session.kept.put(self._key, ledger.encode())
        return laid

    def settle(self) -> None:
        """Put what is said of all models where the last one has not come, since it failed. Raises Error and Damaged."""
        if not self._put or not self._awaited:
            return
        with self._session.store.lock(self._key):
            ledger = self._ledger()
            entries = self._tree(self._all(ledger))
            self._lay(ledger, entries, [each for each in entries if not each.label])
            self._remove_old(ledger, entries)
            self._session.kept.put(self._key, ledger.encode())
        self._awaited.clear()

    def _lay(self, ledger: Ledger, entries: Iterable[Entry], chosen: Sequence[Entry]) -> list[Laid]:
        laid = self._exported.lay(self.wanted.root, chosen)
        labels = {path_of(self.wanted.root, each): each.label for each in entries}
        ledger.paths.update({each.path: labels[each.path] for each in laid})
        return laid

    def _remove_old(self, ledger: Ledger, entries: Iterable[Entry]) -> None:
        """Remove what models had that were put now and have it no more; not before what is said of all names it no more."""
        now = {path_of(self.wanted.root, each) for each in entries}
        old = [path for path, label in ledger.paths.items() if label in self._put and path not in now]
        self._exported.remove_own(old)
        for path in old:
            del ledger.paths[path]

    def standing(
        self, output: Output, manifest: ActionResult, results: Mapping[str, ActionResult]
    ) -> dict[str, os.stat_result] | None:
        """The files that a model stands in there, and their stats; None where one is not as we left it."""
        model = self._finished(output, manifest, results)
        entries = self._tree(self._all(self._ledger(), model))
        return self._exported.standing(self.wanted.root, _own(entries, model))

    def said(self, folder: str) -> str:
        """How what was exported is used; `folder` as a shell takes it."""
        return str(self._shape.said(self._all(self._ledger()), folder))

    def stale(self) -> list[str]:
        """The files of models that are no longer declared for this export, if nobody has changed them."""
        if not self.outputs:
            return self.written()
        labels = {"", *(each.label for each in self.outputs)}
        old = {path for path, label in self._ledger().paths.items() if label not in labels}
        return [path for path in self.written() if path in old]

    def written(self) -> list[str]:
        """All of its files that nobody has changed."""
        return self._exported.stale(())

    def remove(self, paths: Iterable[str]) -> list[str]:
        """Remove files of it that nobody has changed; returns which. Raises Error."""
        return self._exported.remove_own(paths)

    # Models and their trees

    @cached_property
    def _ahead(self) -> list[Finished]:
        return [finishing.ahead(self._session, each, self._stems[each.label]) for each in self.outputs]

    @cached_property
    def _entries_ahead(self) -> list[Entry]:
        return self._tree(self._ahead)

    def _finished(self, output: Output, manifest: ActionResult, results: Mapping[str, ActionResult]) -> Finished:
        before = next(each for each in self._ahead if each.label == output.label)
        made = finishing.finished(self._session, output, before, manifest, results, self.wanted.limit)
        if shapes.is_pushed(self.wanted.shape):
            made = spliced.hashed(made, self._session.kept, self._session.store)
        return made

    def _all(self, ledger: Ledger, made: Finished | None = None) -> list[Finished]:
        """All models of the export: the one that was just made, the others as they were put before, or as they are to be."""
        found = []
        for each in self._ahead:
            if made is not None and each.label == made.label:
                found.append(made)
            elif each.label in ledger.models:
                found.append(_before(Finished.decode(ledger.models[each.label]), each.stem, made))
            else:
                found.append(each)
        return found

    def _tree(self, models: Sequence[Finished]) -> list[Entry]:
        entries = list(self._shape.tree(models, self.wanted.root))
        _check_distinct(self.wanted.root, entries)
        return entries

    def _ledger(self) -> Ledger:
        return Ledger.decode(self._session.kept.get(self._key))


def _before(model: Finished, stem: str, made: Finished | None) -> Finished:
    """A model as it was put before; what it shares with the one that was just made is as that has it, with its bytes."""
    shared = {layer.digest: layer.parts for layer in made.layers} if made is not None else {}
    layers = (
        replace(layer, parts=parts) if (parts := shared.get(layer.digest)) and layer.parts else layer
        for layer in model.layers
    )
    return replace(model, stem=stem, layers=tuple(layers))


def _own(entries: Iterable[Entry], model: Finished) -> list[Entry]:
    """The files of a model, those that it shares with others, and what is said of all."""
    digests = {file.digest for layer in model.layers for file in (layer.copy, *layer.parts)} - {AHEAD}
    return [
        each
        for each in entries
        if each.label in ("", model.label)
        or (isinstance(each.content, Copy | Spliced) and each.content.digest in digests)
    ]


def declared(session: Session) -> list[Export]:
    """The exports of the project."""
    found: dict[Wanted, list[Output]] = {}
    for output in session.graph.outputs:
        for each in output.exports:
            found.setdefault(Wanted(*each), []).append(output)
    return [_of_project(session, wanted, outputs) for wanted, outputs in found.items()]


def asked(session: Session, selection: Selection) -> list[Export]:
    """The export that was asked for beside the project's."""
    if not selection.wanted:
        return []
    assert isinstance(selection.exported, ExportedTree)
    wanted = Wanted(*selection.wanted)
    key = f"{selection.exported.owner} {wanted.root}"
    return [Export(session, wanted, selection.outputs, selection.exported, key)]


def left_out(session: Session, selection: Selection) -> list[str]:
    """What the exports that a build puts leave out of its models."""
    labels = {each.label for each in selection.outputs}
    some = [each for each in declared(session) if any(output.label in labels for output in each.outputs)]
    return [line for each in (*some, *asked(session, selection)) for line in each.left_out()]


def stale_files(session: Session) -> list[str]:
    """Files that the project wrote and no longer declares; none while a broken model may declare them."""
    if session.broken:
        return []
    return [*session.stale_files(), *(path for each in _all(session) for path in each.stale())]


def written_files(session: Session) -> list[str]:
    """All files that the project wrote by `output` and `export`, and nobody has changed since."""
    return [*session.exported().stale(()), *(path for each in _all(session) for path in each.written())]


def remove_files(session: Session, paths: Iterable[str]) -> list[str]:
    """Remove some of those files; returns which. Raises Error."""
    wanted = list(paths)
    return [*session.exported().remove(wanted), *(path for each in _all(session) for path in each.remove(wanted))]


def _all(session: Session) -> Iterator[Export]:
    """The exports that the project declares, and those that it once did, by the owners of their files."""
    found = declared(session)
    yield from found
    places = {(each.wanted.shape, each.wanted.root) for each in found}
    for owner in session.exported().of_exports():
        shape, _, root = owner.removeprefix(f"{session.file} exports ").partition(" ")
        if shape in shapes.names() and (shape, root) not in places:
            yield _of_project(session, Wanted(shape, root), ())


def _of_project(session: Session, wanted: Wanted, outputs: Sequence[Output]) -> Export:
    owner = f"{session.file} exports {wanted.shape} {wanted.root}"
    exported = ExportedTree(session.store, owner, "gguf", links=wanted.link == "hard")
    return Export(session, wanted, outputs, exported, owner)


def _check_distinct(root: str, entries: Iterable[Entry]) -> None:
    """Raise an Error where two files would be one; case does not tell files apart everywhere."""
    for path, count in Counter(entry.path.casefold() for entry in entries).items():
        if count > 1:
            what = f"{count} files of this export would be called '{path}'"
            raise Error(what, path=root, hint="export the models into separate folders")


def stems(outputs: Sequence[Output]) -> dict[str, str]:
    """Label -> what a model's files are called: after its name, with the namespace where that alone tells two apart."""
    names = {output.label: Name.from_path(output.names[0]) for output in outputs}
    found = {label: safe(file_name(name)) for label, name in names.items()}
    twice = Counter(each.casefold() for each in found.values())
    for label, name in names.items():
        if twice[found[label].casefold()] > 1:
            found[label] = safe("-".join([name.host.replace(":", "-"), name.namespace, name.model, name.tag]))
    # Of names that hold a `-` themselves, `a-b:c` and `a:b-c` are one file still.
    used: set[str] = set()
    for label, stem in found.items():
        number, distinct = 1, stem
        while distinct.casefold() in used:
            number += 1
            distinct = f"{stem}-{number}"
        used.add(distinct.casefold())
        found[label] = distinct
    return found

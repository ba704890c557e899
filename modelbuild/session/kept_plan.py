"""The plan of a project as it is kept between runs: what each model decides apart, so that an edit reads and replaces only that."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelbuild.digest import xxh3
from modelbuild.engine.database import Database
from modelbuild.engine.kept import Kept
from modelbuild.engine.parts import Parts
from modelbuild.errors import Error
from modelbuild.observed import Look
from modelbuild.project.remote_cache import RemoteCache
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.engine.graph import Graph
    from modelbuild.plan.parts import Divided, Part
    from modelbuild.plan.plan import Plan
    from modelbuild.plan.remarks import Remark
    from modelbuild.project.broken import Broken
    from modelbuild.project.lock import Outside
    from modelbuild.project.project import Project
    from modelbuild.project.targets import Words

WHOLE, BROKEN = "plan:", "broken:"
"""Where a plan is kept, by whether something of it is broken. One that is mended is most likely what it was, but for an edit."""

MANY = 1000
"""Variants of a project that is large: what is not needed any more leaves the memory."""

WORDS, LOOKS, SHARED, BASED = ":words", ":looks", ":shared", ":based"
"""The parts that are of no model."""


class Head(NamedTuple):
    """What of a plan is about all of it, and small.

    root      the project's folder
    models    the models folder to write
    broken    what is not in the graph, and why
    outside   by label, what of elsewhere a variant is based on
    editable  whether an edit of a Modelfile can be planned alone
    parts     the file of each part of the project -> its name
    cache     where results are shared with other machines
    """

    root: str
    models: str
    warnings: Sequence[Error]
    broken: Sequence[Broken]
    outside: Mapping[str, Outside]
    editable: bool
    parts: Mapping[str, str]
    cache: RemoteCache = RemoteCache()

    def encode(self) -> bytes:
        errors = {error.key: error for each in self.broken for error in each.errors}
        numbers = {key: number for number, key in enumerate(errors)}
        broken = [
            [
                each.model,
                each.label,
                [numbers[error.key] for error in each.errors],
                None if each.names is None else [name.path() for name in each.names],
                each.row,
                each.is_default,
                each.wanted,
            ]
            for each in self.broken
        ]
        warnings, faults = ([error.spelled() for error in some] for some in (self.warnings, errors.values()))
        rest = [self.outside, self.editable, self.parts, self.cache]
        return _json([self.root, self.models, warnings, faults, broken, *rest])

    @staticmethod
    def decode(value: bytes) -> Head:
        root, models, warnings, faults, broken, outside, editable, parts, cache = json.loads(value)
        errors = [*map(Error.recalled, faults)]
        found = [_broken(each, errors) for each in broken]
        based = {label: _outside(each) for label, each in outside.items()}
        told = [*map(Error.recalled, warnings)]
        return Head(root, models, told, found, based, editable, parts, RemoteCache.recalled(*cache))


class KeptPlan:
    """A plan, good for as long as each of its looks sees the same again.

    read  gives the parts: of each model by its name, and the ones above
    """

    def __init__(self, head: Head, read: Callable[[], Mapping[str, bytes]], id: str = "") -> None:
        self.head = head
        self.id = id
        self._read = read

    @staticmethod
    def of(project: Project, plan: Plan, models: str, looks: Sequence[Look], editable: bool) -> KeptPlan:
        """A plan that was just made, from these looks."""
        from modelbuild.plan import parts

        warnings = [*project.warnings, *plan.warnings]
        owners: dict[str, list[str]] = {}
        for model, part in plan.divided.parts.items():
            for file in part.files:
                owners.setdefault(file, []).append(model)
        odd = {project.file, *(project.doubtful or ()), *(subject for verb, subject, _ in looks if verb == "stat")}
        own: dict[str, list[Look]] = {}
        others: list[Look] = []
        for look in looks:
            verb, subject, _ = look
            if verb == "read" and subject in owners and subject not in odd:
                for model in owners[subject]:
                    own.setdefault(model, []).append(look)
            else:
                others.append(look)
        values: dict[str, bytes] = {}
        based: dict[str, list[str]] = {}
        divided: dict[str, Part] = {}
        for model, part in plan.divided.parts.items():
            read = {subject for _, subject, _ in own.get(model, ())}
            part = part._replace(looks=own.get(model, ()), files=[file for file in part.files if file in read])
            divided[model], values[model] = part, part.encode()
            for base in part.bases:
                based.setdefault(base, []).append(model)
        values |= {WORDS: _json(project.targets.words), LOOKS: _json(others), BASED: _json(based)}
        values[SHARED] = parts.encode_shared(plan.divided.shared)
        of_parts = project.targets.parts
        head = Head(project.root, models, warnings, plan.broken, plan.outside, editable, of_parts, project.cache)
        made = KeptPlan(head, lambda: values)
        made.divided = plan.divided._replace(parts=divided)
        made.words, made.graph, made.remarks = project.targets.words, plan.graph, plan.remarks
        made.looks = looks
        return made

    # In the cache

    def keep(self, key: str, kept: Kept, parts: Parts) -> None:
        marks = [mark for model, part in self.divided.parts.items() for mark in marks_of(model, part)]
        self.id = parts.replace(self.values, marks)
        kept.put(key, self.id.encode() + b"\n" + self.head.encode())
        # What it is kept as is as large as all that a build needs of it.
        self._read = lambda: parts.all(self.id) or {}
        for name in ("values", "divided"):
            vars(self).pop(name, None)

    @staticmethod
    def kept_head(key: str, kept: Kept) -> tuple[str, Head] | None:
        """The id and the head of the plan that is kept."""
        value = kept.get(key)
        if value is None:
            return None
        made, _, head = value.partition(b"\n")
        return made.decode(), Head.decode(head)

    @staticmethod
    def read(key: str, kept: Kept, parts: Parts) -> KeptPlan | None:
        """The plan that is kept; None where there is none that is whole."""
        found = KeptPlan.kept_head(key, kept)
        values = parts.all(found[0]) if found else None
        if found is None or not values or not {WORDS, LOOKS, SHARED, BASED} <= values.keys():
            return None
        return KeptPlan(found[1], lambda: values, found[0])

    # What it says

    @property
    def root(self) -> str:
        return self.head.root

    @property
    def models(self) -> str:
        return self.head.models

    @property
    def warnings(self) -> Sequence[Error]:
        return self.head.warnings

    @property
    def broken(self) -> Sequence[Broken]:
        return self.head.broken

    @property
    def outside(self) -> Mapping[str, Outside]:
        return self.head.outside

    @cached_property
    def values(self) -> Mapping[str, bytes]:
        return self._read()

    @cached_property
    def words(self) -> Words:
        from modelbuild.project.targets import Words

        return Words(*json.loads(self.values[WORDS]))

    @cached_property
    def divided(self) -> Divided:
        from modelbuild.plan import parts

        models = (name for name in self.values if not name.startswith(":"))
        found = {model: parts.Part.decode(self.values[model]) for model in models}
        return parts.Divided(found, parts.decode_shared(self.values[SHARED]))

    @cached_property
    def looks(self) -> Sequence[Look]:
        """Every look that it was made by."""
        looks = [(verb, subject, seen) for verb, subject, seen in json.loads(self.values[LOOKS])]
        own = [(verb, subject, seen) for part in self.divided.parts.values() for verb, subject, seen in part.looks]
        return list(dict.fromkeys([*looks, *own]))

    @cached_property
    def remarks(self) -> Sequence[Remark]:
        from modelbuild.plan import parts

        return parts.remarks(self.divided.parts.values())

    @cached_property
    def graph(self) -> Graph:
        from modelbuild.plan import parts

        graph = parts.graph(self.divided)
        return graph.select(graph.outputs) if self.broken else graph


class KeptPlans:
    """The plans of a project that are kept under a key: the last one in which nothing was broken, and the one after it."""

    def __init__(self, key: str, kept: Kept, database: Database) -> None:
        self._key = key
        self._kept = kept
        self._database = database

    def current(self, is_current: Callable[[KeptPlan], bool]) -> KeptPlan | None:
        """The one that still holds."""
        for place in (BROKEN, WHOLE):
            plan = KeptPlan.read(place + self._key, self._kept, self._parts(place))
            if plan is not None and is_current(plan):
                if place == WHOLE:
                    self._forget()
                return plan
        return None

    def keep(self, plan: KeptPlan) -> None:
        place = BROKEN if plan.broken else WHOLE
        plan.keep(place + self._key, self._kept, self._parts(place))
        if len(plan.graph.outputs) > MANY:
            # Much of what planned them refers to itself.
            gc.collect()
        if place == WHOLE:
            self._forget()

    def _forget(self) -> None:
        """Forget what was broken."""
        if self._kept.get(BROKEN + self._key) is not None:
            self._kept.drop(BROKEN + self._key)
            self._parts(BROKEN).replace({})

    def _parts(self, place: str) -> Parts:
        return Parts(self._database, place + self._key)


def marks_of(model: str, part: Part) -> Iterable[tuple[str, str]]:
    """By what a part is found: each Modelfile that decides it, and each step that is its own."""
    return [*((file_mark(file), model) for file in part.files), *((f"step:{digest}", model) for digest in part.steps)]


def file_mark(path: str) -> str:
    # A name that is not UTF-8 is none for SQLite.
    return "file:" + xxh3(path.encode("utf-8", "surrogateescape"))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _outside(spelled: Sequence[Any]) -> Outside:
    from modelbuild.project.lock import Outside

    return Outside(*spelled)


def _broken(spelled: Sequence[Any], errors: Sequence[Error]) -> Broken:
    from modelbuild.ollama.name import Name
    from modelbuild.project.broken import Broken

    model, label, numbers, names, row, is_default, wanted = spelled
    called = None if names is None else tuple(map(Name.from_path, names))
    return Broken(
        model,
        label,
        [errors[number] for number in numbers],
        called,
        tuple((axis, text) for axis, text in row),
        is_default,
        wanted=None if wanted is None else _outside(wanted),
    )

"""Why steps run, in the words of the project: which key changed and where it stands, which file, and how a base differs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelbuild import tools
from modelbuild.engine.action import ABSENT
from modelbuild.engine.graph import Graph, Output, Source, Step
from modelbuild.engine.standing import FORCED, Reason, changed
from modelbuild.errors import Error
from modelbuild.plan.naming import KEY_OF_TEXT
from modelbuild.session.session import Session
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.engine.build import Event
    from modelbuild.project.locate import Place
    from modelbuild.project.variant import Variant
    from modelbuild.session.lineage import Lineage

NEW, CHANGED, REMOVED, MAYBE = "is new", "changed", "was removed", "may change"


class Cause(NamedTuple):
    """What changed, and where that is said: a key with its place, or a file, whose place is its path.

    before, after  the values, where they say more than that they differ
    step           what makes it, if it is the result of a step and not a cause by itself
    """

    what: str
    verb: str
    place: str = ""
    before: str = ""
    after: str = ""
    step: str = ""

    def data(self) -> dict[str, str]:
        found: dict[str, str] = self._asdict()
        return {key: value for key, value in found.items() if value or key in ("what", "verb")}


NEVER = Cause("it", "was never built")
UNRECORDED = Cause("nothing", "is recorded of how it was built")
"""Of a model that is in the models folder: the cache is new, or was removed."""
_KEYS = {"ftype": "quantize", "requantize": "allow_requantize", "imatrix": "imatrix", "outtype": "outtype", "pre": "pre",
         "architecture": "architecture", "mtp": "mtp",
         "link": "link", "renderer": "renderer", "parser": "parser", "requires": "requires", "messages": "messages",
         "draft": "draft"}  # fmt: skip
"""A parameter of a step -> the key of a model that says it."""
_OF_ADAPTERS = ("merge", "adapt", "graft")


class Why:
    """Tells the causes of the steps of a graph from the `reasons` that the engine has for them, by name.

    known  whether steps were something before, where the history is not to be asked
    """

    def __init__(
        self,
        session: Session,
        graph: Graph,
        reasons: Mapping[str, Sequence[Reason]],
        known: Mapping[str, bool] | None = None,
    ) -> None:
        self.reasons = reasons
        self._session = session
        self._graph = graph
        self._targets = graph.targets()
        self._known: dict[str, bool] = dict(known or {})
        self._is_history = known is None

    @cached_property
    def _lineage(self) -> Lineage:
        from modelbuild.session.lineage import Lineage

        return Lineage(self._session.project)

    def _was(self, step: str) -> bool:
        """Whether a step was something before."""
        if step not in self._known:
            first = any(each["field"] == "step" for each in self.reasons[step])
            self._known[step] = not first and self._session.records.history.last(step) is not None
        return self._known[step]

    def _is_unrecorded(self, output: Output) -> bool:
        """Whether a model is there, and no build of it is known of."""
        session = self._session
        is_known = not self._is_history or session.records.history.last(output.manifest) is not None
        return not is_known and session.models.library.served(output.names[0]) is not None

    def short(self, output: Output) -> Cause | None:
        """Why a model was measured as it is now, and not let through."""
        from modelbuild.session import gates

        found = gates.verdict(self._session, output)
        return Cause("it", f"falls short of its gate: {found.said}") if found and found.said else None

    def roots(self, output: Output) -> list[Cause]:
        """What an output differs by since it was built, followed down to what somebody wrote."""
        if output.manifest in self.reasons and not self._was(output.manifest):
            return [UNRECORDED if self._is_unrecorded(output) else NEVER]
        found: dict[Cause, None] = {}
        seen: set[str] = set()
        rest = [output.manifest, *output.made]
        if self.reasons.keys().isdisjoint(rest):
            # It came out as it was.
            rest = [name for name in self.reasons if output.label in self._targets[name]]
        while rest:
            name = rest.pop(0)
            if name in seen or name not in self.reasons:
                continue
            seen.add(name)
            for cause in self.causes(self._graph.steps[name]):
                if cause.step in self.reasons:
                    rest.append(cause.step)
                else:
                    found[cause] = None
        # What a step makes says nothing where something below it is known.
        known = [cause for cause in found if not cause.step]
        return known or list(found) or [Cause("what it is made of", CHANGED)]

    def causes(self, step: Step) -> list[Cause]:
        """Why one step runs."""
        reasons = self.reasons.get(step.name, ())
        if reasons and not self._was(step.name):
            return self._of_new(step, reasons)
        layers = next((each for each in reasons if each["field"] == "parameter 'layers'"), None)
        if layers is not None:
            return list(dict.fromkeys(self._of_layers(step, layers, reasons)))
        found = list(dict.fromkeys(self._cause(step, each) for each in reasons))
        # In another folder the files are others.
        return [each for each in found if each.what == "from"] or found

    def _of_new(self, step: Step, reasons: Sequence[Reason]) -> list[Cause]:
        """What a step that was never built was declared by; and what it waits for."""
        if step.kind in _OF_ADAPTERS:
            return [Cause("adapter", NEW, self._place(step, "adapters"))]
        found = []
        for name, value in _flat(json.loads(step.parameters)):
            cause = self._parameter(step, name, "(none)", value)
            if cause.place and name != "folder":
                found.append(cause)
        awaited = {each["field"] for each in reasons if each["after"] == "to be made"}
        for role, ref in step.inputs:
            if isinstance(ref, str) and ref in self.reasons:
                verb = MAYBE if f"input '{role}' ({ref})" in awaited else NEW
                found.append(Cause(ref, verb, step=ref))
        return list(dict.fromkeys(found)) or [NEVER]

    def _cause(self, step: Step, reason: Reason) -> Cause:
        field, before, after = (reason[key] for key in ("field", "before", "after"))
        if field == "artifact":
            return Cause(after if after == FORCED else f"its result is {after}", "")
        if field == "weights":
            return Cause("the weights", "have not been read yet")
        if field in ("version", "kind"):
            return Cause("this version of modelbuild", f"makes {step.name} differently")
        if found := _INPUT.fullmatch(field):
            return self._input(step, found["role"], found["ref"], before, after)
        return self._parameter(step, field.removeprefix("parameter ").strip("'"), before, after)

    def _input(self, step: Step, role: str, ref: str | None, before: str, after: str) -> Cause:
        source = next((each for r, each in step.inputs if r == role and isinstance(each, Source)), None)
        if source is not None and role == tools.INTERPRETER:
            return Cause("the program of the interpreter", CHANGED, source.path)
        if source is not None:
            verb = NEW if before in (ABSENT, "(none)") else REMOVED if after == ABSENT else CHANGED
            return Cause(source.path, verb, source.path, after=self._tensors(before, after))
        if ref is None:
            return Cause(f"an input ({role})", REMOVED)
        verb = MAYBE if after == "to be made" else NEW if before == "(none)" else CHANGED
        return Cause(ref, verb, step=ref)

    def _tensors(self, before: str, after: str) -> str:
        """Which tensors of a weights file are others than before, as far as both tables are known."""
        from modelbuild.engine.stat_cache import StatCache
        from modelbuild.tensors.tensor import TensorTable

        cache = StatCache(self._session.store.database)
        details = [cache.detail(digest) if digest.startswith("xxh3:") else None for digest in (before, after)]
        if details[0] is None or details[1] is None:
            return ""
        old, new = (TensorTable.decode(detail).tensors for detail in details if detail is not None)
        names = [name for name in {**old, **new} if _bytes(old.get(name)) != _bytes(new.get(name))]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return f"{len(names)} of {len(new)} tensors: {shown}" if names else "no tensor, only what is said beside them"

    def _of_layers(self, step: Step, layers: Reason, reasons: Sequence[Reason]) -> Iterator[Cause]:
        """What changed in a manifest whose layers are others than before: their roles are only their numbers."""
        inputs = {found["role"]: each for each in reasons if (found := _INPUT.fullmatch(each["field"]))}
        refs = dict(step.inputs)
        before, after = (json.loads(layers[side]) for side in ("before", "after"))
        old = [(kind, _digest(inputs, number, "before")) for number, (kind, _) in enumerate(before)]
        new = [(kind, _digest(inputs, number, "after")) for number, (kind, _) in enumerate(after)]
        was, now = (dict.fromkeys(origin for _, origin in each if origin) for each in (before, after))
        if was != now and was and now:
            yield Cause("from", CHANGED, self._place(step, "from"), ", ".join(was), ", ".join(now))
        for kind in dict.fromkeys(kind for kind, _ in (*old, *new)):
            gone, come = (Counter(each for each in side if each[0] == kind) for side in (old, new))
            if gone == come:
                continue
            what = kind.rpartition(".")[2]
            key = {**KEY_OF_TEXT, "adapter": "adapters"}.get(what, what)
            if not come - gone:
                yield Cause(what, REMOVED, self._file(step))
                continue
            for number, each in enumerate(new):
                ref = refs.get(str(number))
                if each[0] == kind and each not in gone and isinstance(ref, str) and ref in self.reasons:
                    yield Cause(ref, CHANGED if gone else NEW, step=ref)
                elif each[0] == kind and each not in gone and not (was != now and was and now):
                    yield Cause(key, CHANGED if gone else NEW, self._place(step, key))
        if "config" in inputs and isinstance(ref := refs["config"], str) and ref in self.reasons:
            yield Cause(ref, CHANGED, step=ref)

    def _parameter(self, step: Step, name: str, before: str, after: str) -> Cause:
        found = self._said(step, name, before, after)
        return found._replace(place=self._file(step)) if found.verb == REMOVED and not found.place else found

    def _said(self, step: Step, name: str, before: str, after: str) -> Cause:
        verb = NEW if before == "(none)" else REMOVED if after == "(none)" else CHANGED
        head, _, rest = name.partition(".")
        values = ("" if before == "(none)" else before, "" if after == "(none)" else after)
        if head == "answer":
            return Cause(f"{rest} of the interpreter", verb, "", *values)
        if head == "options" and step.kind == "tool":
            return Cause(rest, verb, self._tooled(step, rest), *values)
        if head == "operations":
            return Cause("this version of modelbuild", f"computes {rest} differently")
        if head == "text":
            key = KEY_OF_TEXT.get(_what(step), "text")
            return Cause(key, verb, self._place(step, key), *values)
        if head in ("parameters", "metadata") and rest:
            key = "pre" if rest == "tokenizer.ggml.pre" and not self._place(step, head, rest) else head
            what = key if key == "pre" else f"{head.removesuffix('s') if head == 'parameters' else head} {rest}"
            return Cause(what, verb, self._place(step, key, rest if key == head else None), *values)
        if step.kind == "convert" and head == "folder":
            return Cause("from", verb, self._place(step, "from"), *values)
        if step.kind in _OF_ADAPTERS:
            return Cause(f"adapter {name}", verb, self._place(step, "adapters"), *values)
        if name == "mix.tensors" and verb == CHANGED:
            return self._rule(step, *(dict(json.loads(each)) for each in values))
        if head == "messages":
            values = ("", "")
        if head == "mix":
            return Cause(f"mix {rest or head}", verb, self._mix(step, *([rest] if rest else [])), *values)
        if head == "ftype" and (place := self._mix(step, "base")):
            return Cause("mix base", verb, place, *values)
        key = _KEYS.get(head, "")
        return Cause(key or name, verb, self._place(step, key) if key else "", *values)

    def _rule(self, step: Step, before: Mapping[str, str], after: Mapping[str, str]) -> Cause:
        """The rule of a mix that changed; of several the first."""
        changed = [rule for rule in {**before, **after} if before.get(rule) != after.get(rule)]
        if not changed:
            return Cause("the order of the rules of the mix", CHANGED, self._mix(step, "tensors"))
        rule = changed[0]
        verb = NEW if rule not in before else REMOVED if rule not in after else CHANGED
        place = self._mix(step, "tensors", *([rule] if rule in after else []))
        return Cause(f"mix rule {rule}", verb, place, before.get(rule, ""), after.get(rule, ""))

    # Places

    def _tooled(self, step: Step, option: str) -> str:
        """Where an option of a tool is said."""
        key = {"outtype": "outtype", "folder": "from"}.get(option, "imatrix")
        return self._place(step, key) or (self._place(step, "gate", option) if key == "imatrix" else "")

    def _kin(self, step: Step) -> Iterator[Variant]:
        """The variant that a step is for, its bases and theirs."""
        labels = [label for label in self._targets[step.name] if label in self._lineage.variants]
        owner = step.name.rpartition("/")[0]
        for label in sorted(labels, key=lambda each: (each != owner, not each.startswith(f"{owner}:")))[:1]:
            for kin in self._lineage.line(label):
                if kin.key in self._lineage.variants:
                    yield self._lineage.variants[kin.key]

    def _place(self, step: Step, key: str, name: str | None = None) -> str:
        """Where a key is said, in the variant or in one of its bases."""
        from modelbuild.project.variant import modelfile_place

        for variant in self._kin(step):
            if key == "from" and variant.froms:
                return str(variant.froms[-1].place)
            said = variant.said.get(key)
            text = variant.modelfile
            if (said and (not name or name in said.value)) or (text and modelfile_place(text, key, name)):
                return str(variant.place(key, name))
        return ""

    def _mix(self, step: Step, *key: str) -> str:
        place: Place | None = next((each.mix_table for each in self._kin(step) if each.quantize is not None), None)
        return str(place.at(*key)) if place else ""

    def _file(self, step: Step) -> str:
        """The file of the variant, for what no longer stands in it."""
        variant = next(self._kin(step), None)
        if variant is None:
            return ""
        return variant.modelfile.path if variant.modelfile and variant.modelfile.path else variant.table.file


_INPUT = re.compile(r"input '(?P<role>.*?)'(?: \((?P<ref>.*)\))?", re.DOTALL)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _what(step: Step) -> str:
    return re.sub(r"-\d+$", "", step.name.rpartition("/")[2])


def _digest(inputs: Mapping[str, Reason], number: int, side: str) -> str:
    """The digest of a numbered layer before or after; of one that is the same on both sides its number stands for it."""
    found = inputs.get(str(number))
    return found[side] if found else f"#{number}"


def _bytes(tensor: Any) -> object:
    return (tensor.dtype, tensor.shape, tensor.digest) if tensor else None


def explained(session: Session, graph: Graph) -> Callable[[Event], Event]:
    """Puts what the reasons of a step come to, in the words of the project, into the events that have them.

    A model that changes though none of its steps runs, as after a revert, gets them in its own event.
    """
    why = Why(session, graph, reasons := {})
    made = _made_before(session, graph)

    def added(event: Event) -> Event:
        if event["event"] == "variant" and event["changed"] and (causes := made.pop(event["label"], ())):
            return {**event, "causes": [cause.data() for cause in causes]}
        if "because" not in event:
            return event
        for label in event["targets"]:
            made.pop(label, None)
        reasons[event["step"]] = event["because"]
        return {**event, "causes": [cause.data() for cause in why.causes(graph.steps[event["step"]])]}

    return added


def _made_before(session: Session, graph: Graph) -> dict[str, Sequence[Cause]]:
    """Why models differ from those of the last build, by label, as far as that is known before a step runs."""
    try:
        reasons = changed(session.standing(graph), session.records)
    except Error:
        # The build comes to it, and tells.
        return {}
    why = Why(session, graph, reasons)
    return {output.label: why.roots(output) for output in graph.outputs if output.manifest in reasons}

"""What a word may mean: a group, a model, a variant, a full name, or a glob over all of these."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from modelbuild.errors import Error, Errors
from modelbuild.ollama.name import Name
from modelbuild.project.broken import Broken
from modelbuild.project.discovery import GLOB
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean, did_you_mean_within, listed, nearest

if TYPE_CHECKING:
    from modelbuild.project.variant import Variant


T = TypeVar("T")


def displayed_in_full(text: str) -> str | None:
    """A name as Ollama displays it, with its tag; None for what is no name."""
    try:
        return Name.parse(text).display()
    except Error:
        return None


class Words(NamedTuple):
    """The meaning of each word that can be a target. It is kept with the plan, so that no project need be read for it.

    labels   word -> labels of the variants that it names, in the project's order
    known    the groups and the models, for errors
    default  labels of the variants that no target at all stands for
    untold   word -> the model that it means, whatever tag follows, since its rows cannot be told
    parts    the file of a part of the project -> its name
    part     the part whose words come first: 'chat' is its 'PART/chat'; "" for the whole project
    """

    labels: Mapping[str, Sequence[str]]
    known: Sequence[str]
    default: Sequence[str]
    untold: Mapping[str, str]
    parts: Mapping[str, str] = {}
    part: str = ""

    def within(self, part: str) -> Words:
        """The same as seen from a part; no target at all means what the part builds."""
        return self._replace(part=part, default=self.labels.get(part, (part,))) if part else self

    def resolve(self, target: str) -> set[str] | None:
        """Labels of the variants that a target means; None where it means nothing."""
        own = self._resolve(f"{self.part}/{target}") if self.part else None
        return self._resolve(target) if own is None else own

    def _resolve(self, target: str) -> set[str] | None:
        if target in self.labels:
            return set(self.labels[target])
        if label := _untold(target, self.untold):
            return {label}
        if not GLOB.search(target):
            # Another spelling of a name: `library/chat`, or with the registry's host.
            whole = displayed_in_full(target)
            return set(self.labels[whole]) if whole and whole in self.labels else None
        matches = re.compile(fnmatch.translate(target)).match
        return {label for word, labels in self.labels.items() if matches(word) for label in labels} or None

    def written(self, words: Iterable[str]) -> list[str]:
        """Words as they may be written: those of the part also without its name, and first."""
        words, above = list(words), f"{self.part}/"
        own = [word.removeprefix(above) for word in words if word.startswith(above)] if self.part else []
        return [*own, *words]

    def select(self, targets: Iterable[str]) -> set[str]:
        """Labels of the variants that targets mean, or of the default ones. Raises Errors for those that mean nothing."""
        targets = list(targets)
        if not targets:
            return set(self.default)
        found = {target: self.resolve(target) for target in targets}
        if missing := [target for target, labels in found.items() if labels is None]:
            raise Errors([self.unknown(target) for target in missing])
        return {label for labels in found.values() for label in labels or ()}

    def unknown(self, target: str) -> Error:
        """The error for a target that means nothing."""
        model, _, row = target.rpartition(":")
        model = self._whole(model)
        rows = self._rows(model)
        if rows and not self._has_matrix(model):
            near = nearest(row, rows)
            hint = f"did you mean '{model}:{near}'?" if near else f"'{model}' means it"
            return Error(
                f"model '{model}' has no matrix, and no tag '{row}'", facts=[("tags", listed(rows))], hint=hint
            )
        if rows:
            what, facts = f"model '{model}' has no row '{row}'", [("rows", listed(rows))]
            return Error(what, facts=facts, hint=_meant_row(model, row, rows))
        what = "matches nothing" if GLOB.search(target) else "is not a model, a variant or a group of this project"
        facts = [("known", listed(self.known))] if self.known else []
        return Error(f"'{target}' {what}", facts=facts, hint=self.near(target))

    def near(self, text: str) -> str | None:
        """A hint that names what a misspelled word was meant for."""
        model, _, row = text.rpartition(":")
        model = self._whole(model)
        if rows := self._rows(model):
            near = nearest(row, rows)
            return f"did you mean '{model}:{near}'?" if near else f"model '{model}' has the rows {listed(rows)}"
        known = self.written(self.known)
        return did_you_mean_within(text, known) or did_you_mean(text, self.labels)

    def _whole(self, model: str) -> str:
        """What the whole project calls a model."""
        whole = f"{self.part}/{model}"
        return whole if self.part and whole in self.known else model

    def misspelled(self, text: str) -> str | None:
        """A hint for what is nearly a word of the project, and hardly the name of a model elsewhere.

        Names that differ in their numbers are different models: 'llama' is not a slip for 'llama3.2'.
        """
        model, _, row = text.rpartition(":")
        if row and any(label.startswith(f"{model}:") for label in self.labels.get(model, ())):
            return self.near(text)
        numbers = re.findall(r"\d+", text)
        words = self.written(self.labels)
        near = nearest(text, (word for word in words if re.findall(r"\d+", word) == numbers), 0.75)
        return f"did you mean '{near}'?" if near else None

    def _has_matrix(self, model: str) -> bool:
        return any(label.startswith(f"{model}:") for label in self.labels[model])

    def _rows(self, model: str) -> list[str]:
        """What stands behind the model's name in its targets; nothing for a word that is no model."""
        if model not in self.known:
            return []
        own = [label.removeprefix(f"{model}:") for label in self.labels[model] if label.startswith(f"{model}:")]
        return own or sorted(word.removeprefix(f"{model}:") for word in self.labels if word.startswith(f"{model}:"))


def _untold(text: str, models: Mapping[str, T]) -> T | None:
    """What is known of the model that a word with a tag means whose rows cannot be told, or of its part."""
    model = text.rpartition(":")[0]
    part, slash, _ = text.partition("/")
    return models.get(model, models.get(part + "/") if slash else None)


def _meant_row(model: str, row: str, rows: Sequence[str]) -> str | None:
    """A hint for what is no row: some of a row's labels mean all rows that have them; a type is one of no matrix."""
    glob = f"*{row}*"
    if row and not GLOB.search(row) and (hits := fnmatch.filter(rows, glob)):
        return f"'{model}:{glob}' means {len(hits)} of them" if len(hits) > 1 else f"did you mean '{hits[0]}'?"
    from modelbuild.tensors import ftypes

    if ftypes.canonical(row):
        return f"add it to the matrix's 'quantize'; a Modelfile or weights alone are built in it by -q {row}"
    return did_you_mean(row, rows)


def spelled(called: Variant | Broken) -> set[str]:
    """All that a variant may be called."""
    words = {called.model, called.label}
    if called.row:
        words.add(f"{called.model}:{'-'.join(label for _, label in called.row)}")
    for name in called.names or ():
        full = name.display()
        words |= {full, full.rpartition(":")[0], f"{called.model}:{name.tag}"}
    return words.union(called.words) if isinstance(called, Broken) else words


class Targets:
    """Every spelling of a project's groups, models and variants.

    called   all variants, and what stands for those that are broken
    default  target patterns that no target at all stands for; empty: everything
    parts    the file of a part, relative to the project -> its name
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[str]],
        called: tuple[Variant | Broken, ...],
        default: Sequence[str],
        parts: Mapping[str, str],
    ) -> None:
        self.groups = groups
        self.called = called
        self.default = default
        self.parts = parts

    def called_too(self, others: Iterable[Broken]) -> Targets:
        """The same, with more that is called."""
        return Targets(self.groups, (*self.called, *others), self.default, self.parts)

    @cached_property
    def spellings(self) -> Mapping[str, set[int]]:
        """What a variant may be called -> the positions in `called` of all that are called so."""
        spellings: dict[str, set[int]] = {}
        for number, each in enumerate(self.called):
            for word in spelled(each) if each.model else ():
                spellings.setdefault(word, set()).add(number)
        return spellings

    @cached_property
    def _rows(self) -> Mapping[str, tuple[Variant | Broken, ...]]:
        """A model -> its default row, or all of its rows if it has none."""
        rows: dict[str, list[Variant | Broken]] = {}
        for each in self.called:
            rows.setdefault(each.model, []).append(each)
        return {
            model: tuple(each for each in found if each.is_default) or tuple(found) for model, found in rows.items()
        }

    @cached_property
    def words(self) -> Words:
        """Every word that can be a target, globs aside, and what none at all means."""
        numbers = {**self.spellings, **{group: self._members(group) for group in self.groups}}
        labels = {word: tuple(self.called[number].label for number in sorted(found)) for word, found in numbers.items()}
        known = list(dict.fromkeys([*self.groups, *(each.model for each in self.called if each.model)]))
        all_ = tuple(each.label for each in self.called)
        untold = {word: self.called[number].label for word, number in self._untold.items()}
        words = Words(labels, known, all_, untold, self.parts)
        # A target of `default` that matches nothing has been told of.
        chosen = {label for target in self.default for label in words.resolve(target) or ()}
        return words._replace(default=[label for label in all_ if label in chosen]) if self.default else words

    @cached_property
    def _untold(self) -> Mapping[str, int]:
        """What models may be called whose rows cannot be told, without a tag -> their positions in `called`."""
        return {
            word: number
            for number, each in enumerate(self.called)
            if isinstance(each, Broken) and each.names is None and each.label == each.model
            for word in spelled(each)
            if ":" not in word
        }

    def _meant_untold(self, text: str) -> set[int]:
        """The model that is called so up to its tag, where its rows cannot be told."""
        number = _untold(text, self._untold)
        return set() if number is None else {number}

    def candidates(self, text: str, part: str = "") -> tuple[Variant | Broken, ...]:
        """What FROM means by a name of this project: one variant, or all rows of a model without a default row.

        Names of the `part` that says it come first.
        """
        own = self._candidates(f"{part}/{text}") if part else ()
        return own or self._candidates(text)

    def _candidates(self, text: str) -> tuple[Variant | Broken, ...]:
        if text and (rows := self._rows.get(text)):
            return rows
        numbers = self.spellings.get(text, set())
        if ":" not in text.rpartition("/")[2]:
            numbers = self.spellings.get(f"{text}:latest", numbers)
        if not numbers and (whole := displayed_in_full(text)):
            numbers = self.spellings.get(whole, numbers)
        numbers = numbers or self._meant_untold(text)
        return tuple(self.called[number] for number in sorted(numbers))

    def circle(self, start: str) -> list[str] | None:
        """The shortest way from a group back to itself through other groups."""
        came: dict[str, str | None] = {start: None}
        todo = [start]
        for group in todo:
            for member in self.groups[group]:
                if member == start and group != start:
                    path = [group]
                    while (before := came[path[-1]]) is not None:
                        path.append(before)
                    return path[::-1]
                if member in self.groups and member not in came:
                    came[member] = group
                    todo.append(member)
        return None

    def _members(self, group: str) -> set[int]:
        """What a group means, with what is wrong with it. Inside a group its own name means the model of that name."""
        found: set[int] = set()
        seen = {group}
        todo = [group]
        while todo:
            current = todo.pop()
            found |= {self._faults[f"[group.{current}]"]} if f"[group.{current}]" in self._faults else set()
            for member in self.groups[current]:
                if member in self.groups and member != current:
                    if member not in seen:
                        seen.add(member)
                        todo.append(member)
                elif member in self.spellings:
                    found |= self.spellings[member]
                elif GLOB.search(member):
                    found |= self._matching(member)
                elif re.search("[:/]", member):
                    # Only a model of which nobody knows what it is called can be meant.
                    found |= self._meant_untold(member) or set(self._untold.values())
        return found

    def means(self, word: str) -> bool:
        """Whether a word can be a target."""
        if word in self.groups or word in self.spellings or _untold(word, self._untold) is not None:
            return True
        if GLOB.search(word):
            matches = re.compile(fnmatch.translate(word)).match
            return bool(self._matching(word)) or any(map(matches, self.groups))
        return displayed_in_full(word) in self.spellings

    def _matching(self, glob: str) -> set[int]:
        matches = re.compile(fnmatch.translate(glob)).match
        part, slash, _ = glob.partition("/")
        words = self._words_of_parts.get(part, ()) if slash and not GLOB.search(part) else self.spellings
        return {number for word in words if matches(word) for number in self.spellings[word]}

    @cached_property
    def _words_of_parts(self) -> Mapping[str, Sequence[str]]:
        """What stands before the first '/' of a word -> the words."""
        found: dict[str, list[str]] = {}
        for word in self.spellings:
            found.setdefault(word.partition("/")[0], []).append(word)
        return found

    @cached_property
    def _faults(self) -> Mapping[str, int]:
        """What is wrong and no model, by its label -> its position in `called`."""
        return {each.label: number for number, each in enumerate(self.called) if not each.model}

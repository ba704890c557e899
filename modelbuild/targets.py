"""What a word may mean: a group, a model, a variant, a full name, or a glob over all of these."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence

from modelbuild.discovery import GLOB
from modelbuild.errors import Error, did_you_mean, listed
from modelbuild.variant import Variant


class Targets:
    """Every spelling of a project's groups, models and variants."""

    def __init__(self, groups: Mapping[str, Sequence[str]], variants: Sequence[Variant]) -> None:
        self.groups = groups
        self.variants = variants
        self.spellings: dict[str, set[int]] = {}
        """What a variant may be called -> the positions in `variants` of all that are called so."""
        for number, each in enumerate(variants):
            words = {each.model, each.label}
            if each.row:
                words.add(f"{each.model}:{'-'.join(label for _, label in each.row)}")
            for name in each.names:
                full = name.display()
                words |= {full, full.rpartition(":")[0], f"{each.model}:{name.tag}"}
            for word in words:
                self.spellings.setdefault(word, set()).add(number)

    def words(self) -> dict[str, tuple[str, ...]]:
        """Every word that can be a target, globs aside -> the labels of the variants that it names."""
        numbers = {**self.spellings, **{group: self._members(group) for group in self.groups}}
        return {word: tuple(self.variants[number].label for number in sorted(found)) for word, found in numbers.items()}

    def resolve(self, target: str) -> set[int] | None:
        """Positions of the variants that a target means; None where it means nothing."""
        if target in self.groups:
            return self._members(target)
        if target in self.spellings:
            return self.spellings[target]
        if not GLOB.search(target):
            return None
        matches = re.compile(fnmatch.translate(target)).match
        found = self._matching(target)
        for group in self.groups:
            if matches(group):
                found |= self._members(group)
        return found or None

    def candidates(self, text: str) -> tuple[Variant, ...]:
        """What FROM means by a name of this project: one variant, or all rows of a model without a default row."""
        rows = [each for each in self.variants if each.model == text]
        if rows:
            return tuple(each for each in rows if each.is_default) or tuple(rows)
        numbers = self.spellings.get(text, set())
        if ":" not in text.rpartition("/")[2]:
            numbers = self.spellings.get(f"{text}:latest", numbers)
        return tuple(self.variants[number] for number in sorted(numbers))

    def unknown(self, target: str) -> Error:
        """The error for a target that means nothing."""
        what = "matches nothing" if GLOB.search(target) else "is not a model, a variant or a group of this project"
        known = dict.fromkeys([*self.groups, *(each.model for each in self.variants)])
        return Error(f"'{target}' {what}", facts=[("known", listed(known))] if known else [], hint=self.near(target))

    def near(self, text: str) -> str | None:
        """A hint that names what a misspelled word was meant for."""
        first = did_you_mean(text, [*self.groups, *(each.model for each in self.variants)])
        return first or did_you_mean(text, self.spellings)

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
        """What a group means. Inside a group its own name means the model of that name."""
        found: set[int] = set()
        seen = {group}
        todo = [group]
        while todo:
            current = todo.pop()
            for member in self.groups[current]:
                if member in self.groups and member != current:
                    if member not in seen:
                        seen.add(member)
                        todo.append(member)
                elif member in self.spellings:
                    found |= self.spellings[member]
                elif GLOB.search(member):
                    found |= self._matching(member)
        return found

    def _matching(self, glob: str) -> set[int]:
        matches = re.compile(fnmatch.translate(glob)).match
        return {number for word, numbers in self.spellings.items() if matches(word) for number in numbers}

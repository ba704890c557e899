"""The groups of a project and of its parts, and what is built if no target is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from modelbuild.errors import Problems
from modelbuild.project import unused
from modelbuild.project.broken import Broken
from modelbuild.project.discovery import GLOB
from modelbuild.project.locate import Place
from modelbuild.project.locate import part as part_of
from modelbuild.project.parts import Part
from modelbuild.project.targets import Targets
from modelbuild.project.variant import Variant
from modelbuild.tuples import NamedTuple


class Listed(NamedTuple):
    """Targets that a text lists; `group` is the group that they make, "" for the project's default."""

    part: Part
    group: str
    place: Place
    members: Sequence[str]


def targets(
    every: Sequence[Part],
    lists: Sequence[Listed],
    names: Mapping[str, str],
    called: tuple[Variant | Broken, ...],
    problems: Problems,
) -> Targets:
    """What groups and targets mean. Names that can mean nothing are refused, globs that match nothing pointed out.

    `lists` are those of all parts, and `names` the names of parts by their files. A part's own name means what is built in its folder.
    """
    known = Targets({each.group: () for each in lists if each.group}, called, (), names)
    groups: dict[str, list[str]] = {part.name: [] for part in every if part.name}
    for model in dict.fromkeys(each.model for each in called):
        if (name := model.partition("/")[0]) in groups:
            groups[name].append(model)
    default: Sequence[str] = ()
    for each in lists:
        members = [_meant(each.part, member, known) for member in each.members]
        if each.group:
            groups[each.group] = members
        else:
            default = members
    made = Targets(groups, called, default, names)
    for part in every:
        table = part.toml.table("group")
        problems.warn_of_some(unused.targets(part.toml.table("project"), table, part.top))
        # What a table says that is wrong is not in it any more.
        right = {name: said for name, said in part.toml.table("model").items() if name not in part.toml.faults}
        problems.warn_of_some(unused.glob_tables(right, part.top))
    for each in lists:
        _check(each, made, problems)
    _refuse_circles(lists, made, problems)
    return made


def lists(part: Part) -> Iterator[Listed]:
    """The groups of a part, and what it builds if no target is named."""
    here = part.top.at("project", "default")
    default = part.toml.strings(part.toml.table("project").get("default", ()), here)
    if default:
        yield Listed(part, part.name, here, default)
    for name, members in part.toml.table("group").items():
        place = part.top.at("group", name)
        yield Listed(part, part.address(name), place, part.toml.strings(members, place))


def _meant(part: Part, member: str, known: Targets) -> str:
    """A member as the whole project calls it: a part's own words come first."""
    whole = part.address(member)
    own = part.name and member and known.means(whole)
    return whole if own else member


def _check(each: Listed, made: Targets, problems: Problems) -> None:
    for number, member in enumerate(each.members):
        if not member or made.means(_meant(each.part, member, made)):
            continue
        if GLOB.search(member):
            problems.warn(each.place.at(number).error(f"'{member}' matches nothing"))
        elif not (made.words.untold and re.search("[:/]", member)):
            # Of a model that is wrong in itself nobody knows what its variants are called.
            concerned = f"[group.{each.group}]" if each.part.name else part_of(each.place.key)
            found = problems if concerned is None else problems.of(concerned)
            found.add(each.place.at(number).placed(made.words.within(each.part.name).unknown(member)))


def _refuse_circles(lists: Sequence[Listed], made: Targets, problems: Problems) -> None:
    places = {each.group: each.place for each in lists if each.group}
    for name in places:
        if circle := made.circle(name):
            first = circle.index(min(circle))
            way = [*circle[first:], *circle[:first]]
            what = f"the group is a cycle: {' -> '.join([*way, way[0]])}"
            hint = "take one of them out of the other"
            problems.of(f"[group.{name}]").add(places[way[0]].error(what, hint=hint, value=False))

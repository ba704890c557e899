"""A project as declared by its ModelBuild.toml and Modelfiles, with all its variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelbuild.errors import Error
from modelbuild.project.broken import Broken
from modelbuild.project.discovery import GLOB
from modelbuild.project.locate import Place
from modelbuild.project.overlay import in_defaults
from modelbuild.project.remote_cache import RemoteCache
from modelbuild.project.targets import Targets
from modelbuild.project.variant import From, Variant
from modelbuild.tuples import NamedTuple

DEPTH_LIMIT = 100
"""How many models extend one another, or derive from one another."""


class Origin(NamedTuple):
    """What decides the variants of one model, besides the ModelBuild.toml.

    found     model -> Modelfile that was found for it: of the model, and of those that it extends
    files     the Modelfiles of its rows, which decide nothing else
    parts     the parts of the project in which it is, and those that it extends
    warnings  what was said of it alone
    """

    found: Mapping[str, str]
    files: Sequence[str]
    parts: Sequence[str]
    warnings: Sequence[Error]


class Project(NamedTuple):
    """A folder with a ModelBuild.toml (or one Modelfile).

    root      the folder, absolute; file is the text read, absolute
    models    the models folder that the TOML names, absolute; None where it names none
    targets   what may be built, and all the words for it
    warnings  errors that nobody need act on
    origins   of each model that is right in itself
    cache     where results are shared with other machines
    doubtful  the Modelfiles that may decide models of which something is wrong; None where they cannot be told
    unowned   the parts whose names are the namespaces of their models, since nobody declared one
    """

    root: str
    file: str
    name: str | None
    namespace: str | None
    models: str | None
    targets: Targets
    warnings: tuple[Error, ...] = ()
    origins: Mapping[str, Origin] = {}
    doubtful: frozenset[str] | None = frozenset()
    unowned: frozenset[str] = frozenset()
    cache: RemoteCache = RemoteCache()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All that the project declares and that is right in itself, in order."""
        return tuple(each for each in self.targets.called if isinstance(each, Variant))

    @property
    def broken(self) -> tuple[Broken, ...]:
        """All that something is wrong with."""
        return tuple(each for each in self.targets.called if isinstance(each, Broken))

    def select(self, targets: Sequence[str] = ()) -> tuple[Variant, ...]:
        """The variants that targets name, in the project's order. Raises Errors for targets that name nothing.

        A target is a group, a model, a variant, a full name with or without its tag, or a glob over all of these.
        """
        chosen = self.targets.words.select(targets)
        return tuple(each for each in self.variants if each.label in chosen)

    def candidates(self, text: str, part: str = "") -> tuple[Variant | Broken, ...]:
        """What FROM means by a name of this project: one variant, or all rows of a model without a default row.

        Names of the `part` that says it come first.
        """
        return self.targets.candidates(text, part)

    def names_part(self, line: From) -> bool:
        """Whether a FROM spells out a model of a part, as 'PART/MODEL'."""
        return bool(self.part_of(line.text) and self.candidates(line.text, line.part))

    def part_of(self, text: str) -> str:
        """The part whose name begins a FROM that is spelled 'PART/MODEL'; "" for any other text."""
        part, slash, _ = text.partition("/")
        return part if slash and part in self.targets.parts.values() else ""

    def address(self, line: From) -> str:
        """What a FROM names, as the whole project calls it."""
        whole = f"{line.part}/{line.text}"
        return whole if line.part and self.targets.candidates(whole) else line.text

    def is_unowned(self, variant: Variant) -> bool:
        """Whether the namespace of a variant's names is only the name of its part."""
        part, _, model = variant.model.partition("/")
        said = variant.said.get("name")
        return part in self.unowned and "/" not in (str(said.value) if said else model)

    def misspelled(self, text: str, part: str = "") -> str | None:
        """A hint that names the model of this project that a FROM was meant for."""
        return self.targets.words.within(part).misspelled(text)


def is_shared(place: Place) -> bool:
    """Whether [defaults] or a glob table says it, and so for models that it may not fit."""
    return in_defaults(place) or (place.key[:1] == ("model",) and bool(GLOB.search(str(place.key[1]))))

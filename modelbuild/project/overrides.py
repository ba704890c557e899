"""Keys and variables from the command line, which override those of the project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.project.overlay import Table
from modelbuild.project.variables import Scalar
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean, listed


class Overrides(NamedTuple):
    """The options that say something about the project.

    vars            `--var NAME=VALUE`
    sets            `--set MODEL.KEY=VALUE`, as written; MODEL may be a glob
    name, quantize  `-t NAME` and `-q TYPE`, for the one model of a Modelfile
    """

    vars: Mapping[str, str] = {}
    sets: tuple[str, ...] = ()
    name: str | None = None
    quantize: str | None = None

    def tables(self) -> list[Table]:
        """What `-t` and `-q` say of the one model."""
        tables = []
        if self.name is not None:
            # A tag is what follows the last ':', unless that ends a host's name.
            name, colon, tag = self.name.rpartition(":")
            is_tag = bool(colon) and "/" not in tag
            tables.append(
                Table({"name": name, "tag": tag} if is_tag else {"name": self.name}, Place(f"-t {self.name}"))
            )
        if self.quantize is not None:
            tables.append(Table({"quantize": self.quantize}, Place(f"-q {self.quantize}")))
        return tables


class Set(NamedTuple):
    """A `--set` option: a table for the models whose names match `pattern`."""

    option: str
    pattern: str
    values: Mapping[str, Any]

    @property
    def place(self) -> Place:
        return Place(f"--set {self.option}")

    @property
    def table(self) -> Table:
        return Table(self.values, self.place)


def parse(option: str) -> Set:
    """Split `MODEL.KEY=VALUE`; VALUE is TOML, or a string as it stands. Raises Error."""
    import tomllib

    left, equals, text = option.partition("=")
    parts = left.strip().split(".")
    place = Place(f"--set {option}")
    # A model's name may hold dots: the first part that is a key of a model ends it.
    split = next((number for number in range(1, len(parts)) if parts[number] in KEYS), None)
    if not equals or len(parts) < 2:
        raise place.error("expected MODEL.KEY=VALUE", hint="write, for example, --set chat.quantize=q8_0")
    if split is None:
        raise place.error(
            f"unknown key '{parts[-1]}'",
            hint=did_you_mean(parts[-1], KEYS) or f"the keys of a model are: {listed(KEYS, 40)}",
        )
    key = parts[split]
    if key == "extends":
        raise place.error("'extends' cannot be set from the command line", hint="set it in ModelBuild.toml")
    value: Any
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError, KeyError):
        value = text
    if KEYS[key].is_string and split + 1 == len(parts) and isinstance(value, Scalar):
        value = value if isinstance(value, str) else text
    for name in reversed(parts[split + 1 :]):
        value = {name: value}
    return Set(option, ".".join(parts[:split]), {key: value})

"""Objects that other packages offer by entry points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ARCHITECTURES = "modelbuild.architectures"
"""The group whose names are classes of checkpoints, as `architectures` in config.json has them."""

_HINT = "what a package may import of modelbuild is in modelbuild.extend, and nothing else"


class Plugin(NamedTuple):
    """One thing that a package offers; `package` is its name and version, which decide what is made with it."""

    package: str
    entry: EntryPoint

    def load(self) -> Any:
        """Import it. Raises Error for whatever keeps it from being imported."""
        try:
            return self.entry.load()
        except Exception as fault:
            what = str(fault).split("\n")[0] or "no reason given"
            raise Error(
                f"'{self.entry.name}' of the package '{self.package}' cannot be imported: {type(fault).__name__}: {what}",
                facts=[("entry point", f"{self.entry.group}: {self.entry.name} = {self.entry.value}")],
                hint=_HINT if isinstance(fault, ImportError) and "modelbuild" in what else None,
            ) from None


def find(group: str, name: str) -> Plugin | None:
    """What the installed packages offer under a name of a group. Raises Error where two of them do."""
    # The look into all installed packages takes longer than a build with nothing to do.
    from importlib.metadata import entry_points

    found = {
        f"{entry.dist.name} {entry.dist.version}": entry for entry in entry_points(group=group, name=name) if entry.dist
    }
    if len(found) > 1:
        raise Error(
            f"{len(found)} packages provide '{name}', expected one",
            facts=[("packages", ", ".join(sorted(found)))],
            hint="uninstall the others",
        )
    return next((Plugin(package, entry) for package, entry in found.items()), None)

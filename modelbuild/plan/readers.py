"""What reads checkpoints of a class: one of our architectures, or a package that brings one."""

from __future__ import annotations

import os
import sys

from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.project.locate import Place
from modelbuild.project.variant import Variant
from modelbuild.steps.convert import Parameters
from modelbuild.words import listed


def plugin(observed: Observed, class_name: str, place: Place) -> str | None:
    """Name and version of the package that reads checkpoints of a class; None where that is ours, or nobody does."""
    from modelbuild import plugins
    from modelbuild.checkpoint import classes

    if class_name in classes.read():
        return None
    # What is installed shows in the folders that packages lie in.
    observed.env("PYTHONPATH")
    for path in sys.path:
        if os.path.isdir(path) and os.path.realpath(path) != os.getcwd():
            observed.entries(path)
    try:
        found = plugins.find(plugins.ARCHITECTURES, class_name)
    except Error as error:
        raise place.placed(error) from error
    return found.package if found is not None else None


def named(observed: Observed, variant: Variant) -> Parameters:
    """The class that the project names, and the package that reads it; nothing where it names none. Raises Error for an unknown one."""
    from modelbuild.checkpoint import classes

    class_name, place = variant.string("architecture"), variant.place("architecture")
    if not class_name:
        return {}
    package = plugin(observed, class_name, place)
    if package is None and class_name not in classes.read():
        near = classes.nearest(class_name)
        raise place.error(
            f"architecture '{class_name}' is not supported yet",
            facts=[] if near else [("known", listed(sorted(classes.read()), 200))],
            hint=f"did you mean '{near}'?" if near else None,
        )
    return {"architecture": class_name, "plugin": package}

"""Whether a variant is built: under its names in the models folder, and in all files that it is written to."""

from __future__ import annotations

from typing import Literal

from modelbuild.engine.graph import Output
from modelbuild.engine.standing import Standing
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.session.session import Session

State = Literal["yes", "changed", "no"]


def state(session: Session, output: Output, standing: Standing) -> State:
    """Whether a variant is built: under all its names and as it would be now, otherwise than now, or not at all."""
    library = session.models.library
    found = [library.served(name) for name in output.names]
    if not any(found):
        return "no"
    now = standing.results.get(output.manifest)
    complete = all(library.is_whole(each) for each in found if each) and _files_stand(session, output, standing)
    return "yes" if now and complete and all(each and each.digest == now.artifact for each in found) else "changed"


def _files_stand(session: Session, output: Output, standing: Standing) -> bool:
    """Whether the files that a variant is written to besides are as a build would leave them."""
    made = [(path, standing.results.get(blob)) for path, blob in output.files]
    if not all(result is not None and session.exported().stands(path, result.artifact) for path, result in made):
        return False
    if not output.exports:
        return True
    from modelbuild.session import exports

    manifest, results = standing.results.get(output.manifest), standing.results
    if manifest is None or not all(name in results for name in output.made):
        return False
    try:
        return all(
            each.standing(output, manifest, results) is not None
            for each in exports.declared(session)
            if each.has(output)
        )
    except (Error, Damaged):
        return False

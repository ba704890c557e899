"""The target of a command that takes one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.engine.graph import Output
from modelbuild.errors import Error, Errors
from modelbuild.project.broken import told
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.cli.invocation import Invocation
    from modelbuild.session.session import Session


def keep_type(call: Invocation, targets: Sequence[str]) -> None:
    """Go on as if with the -q by which the model of a Modelfile or of weights was built: who runs it wants no other one.

    It opens the session anew. Raises Error and Errors.
    """
    from modelbuild.session import naming

    session = call.session
    if session.file.endswith(".toml"):
        return
    if (kept := naming.type_before(session, session.select(targets).outputs)) is not None:
        call.close()
        call.settings = call.settings._replace(quantize=kept)


def one(session: Session, target: str | None, command: str) -> Output:
    """The one variant that a target means, or the whole project; of several the latest, as Ollama takes a name without a tag.

    command  what a hint repeats
    Raises Error and Errors.
    """
    if target is None and len(session.words().known) == 1:
        target = session.words().known[0]
    selection = session.select([target] if target else ())
    labels = [output.label for output in selection.outputs] + [each.label for each in selection.broken]
    if not labels:
        raise selection.empty()
    if len(labels) > 1:
        latest = session.words().resolve(f"{target}:latest") or ()
        chosen = [label for label in labels if label in latest]
        if len(chosen) != 1:
            raise Error(
                f"'{target or os.path.basename(session.file)}' matches {len(labels)} variants, need one",
                facts=[("variants", listed(labels))],
                hint=f"name one, such as `modelbuild {command} {labels[0]}`",
            )
        labels = chosen
    if broken := [each for each in selection.broken if each.label in labels]:
        raise Errors(told(broken))
    return next(output for output in selection.outputs if output.label in labels)

"""A variant as the commands of one Modelfile, with bases, matrix and variables resolved."""

from __future__ import annotations

import json
from collections.abc import Callable

from modelbuild.engine.graph import Output
from modelbuild.ollama.modelfile.grammar import Command
from modelbuild.plan.planned import PlannedLayer
from modelbuild.session.provenance import Provenance
from modelbuild.session.session import Session
from modelbuild.shapes.folder import INSTRUCTIONS


def flattened(session: Session, output: Output, path_of: Callable[[PlannedLayer], str]) -> list[Command]:
    """The commands that say a variant; `path_of` names the file of a layer that is one."""
    provenance = Provenance(session, output)
    files = [Command(INSTRUCTIONS[each.kind], path_of(each)) for each in provenance.layers if each.kind in INSTRUCTIONS]
    return [*files, *texts(provenance)]


def texts(provenance: Provenance) -> list[Command]:
    """The commands that say a variant, but those that name its files."""
    values = provenance.values()
    commands: list[Command] = []
    for key, (value, _) in values.items():
        if key in ("template", "system", "renderer", "parser", "requires"):
            commands.append(Command(key, value))
        elif key == "license":
            commands += [Command("license", text) for text in value]
    for name, (value, _) in provenance.parameters().items():
        items = value if isinstance(value, list) else [value]
        commands += [Command("parameter", item if isinstance(item, str) else json.dumps(item), name) for item in items]
    for message in values["messages"].value if "messages" in values else ():
        commands.append(Command("message", message["content"], message["role"]))
    return commands

"""The prompt that Ollama's server makes of a TEMPLATE and a conversation (template/template.go, Execute)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild.ollama import go_template
from modelbuild.ollama.go_template import Node, Unsupported, asks_for

PLAIN = "{{ .Prompt }}"
"""The template of a model that has none (server/images.go, GetModel)."""

Messages = Sequence[tuple[str, str]]
"""(role, content) in order; the roles are `system`, `user` and `assistant`."""


def rendered(template: str, messages: Messages) -> str:
    """The prompt of a conversation; the model goes on where it ends. Raises Unsupported.

    template  one that `find_fault` finds nothing wrong with
    """
    nodes = go_template.parse(template)
    asked = go_template.fields(nodes)
    # A server lets a model think that can, which it knows by this field (server/routes.go, ChatHandler).
    thinks = "Thinking" in asked
    switches: dict[str, Any] = {"Think": thinks, "IsThinkSet": thinks, "ThinkLevel": ""}
    if not {"Messages", "Response"} & asked:
        nodes = [*nodes, *go_template.parse("{{ .Response }}")]
    system, collated = _collated(messages)
    if {"Messages", "Document"} & asked:
        values = {"System": system, "Messages": collated, "Tools": [], "Response": "", **switches}
        return go_template.execute(nodes, values | dict.fromkeys(("Query", "Document", "Instruction"), ""))
    return _by_turns(nodes, collated, switches)


def _collated(messages: Messages) -> tuple[str, list[dict[str, Any]]]:
    """All system messages as one text, and the messages, of which neighbours of one role are one."""
    found: list[dict[str, Any]] = []
    for role, content in messages:
        if found and found[-1]["Role"] == role:
            found[-1]["Content"] += "\n\n" + content
        else:
            empty = {"Thinking": "", "Images": [], "ToolCalls": [], "ToolName": "", "ToolCallID": ""}
            found.append({"Role": role, "Content": content, **empty})
    return "\n\n".join(content for role, content in messages if role == "system"), found


def _by_turns(nodes: list[Node], messages: list[dict[str, Any]], switches: Mapping[str, Any]) -> str:
    """A template that knows one turn is executed for each; for the last one only up to the response."""
    out: list[str] = []
    values = {"System": "", "Prompt": "", "Response": ""}

    def execute(nodes: list[Node]) -> None:
        out.append(go_template.execute(nodes, {**values, **switches}))
        values.update(dict.fromkeys(values, ""))

    for message in messages:
        key = {"system": "System", "user": "Prompt", "assistant": "Response"}[message["Role"]]
        if values["Response"] and key != "Response" or values["Prompt"] and key == "System":
            execute(nodes)
        values[key] = message["Content"]
    execute(_cut(nodes)[0])
    return "".join(out)


def _cut(nodes: list[Node]) -> tuple[list[Node], bool]:
    """The nodes up to the first that prints the response, and whether one does."""
    found: list[Node] = []
    for node in nodes:
        if node.kind in ("value", "set") and asks_for(node, "Response"):
            if len(node.pipe) > 1 or len(node.pipe[0]) > 1:
                raise Unsupported("'.Response' inside of a larger expression")
            return [*found, node], True
        body, is_cut = _cut(node.body)
        other, other_cut = _cut(node.other) if not is_cut else ([], False)
        if is_cut and node.other:
            raise Unsupported("'.Response' before an 'else'")
        found.append(Node(node.kind, node.text, node.names, node.declares, node.pipe, body, other))
        if is_cut or other_cut:
            return found, True
    return found, False

"""Why steps run and models change, in the events of a build with --explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from modelbuild.engine.standing import changed
from modelbuild.errors import Error
from modelbuild.session.why import Why

if TYPE_CHECKING:
    from modelbuild.engine.build import Event
    from modelbuild.engine.graph import Graph
    from modelbuild.session.session import Selection, Session
    from modelbuild.session.why import Cause


def with_causes(session: Session, selection: Selection) -> Callable[[Event], Event]:
    """Put what the reasons of a step come to, in the words of the project, into the events that have them."""
    graph = session.graph.select(selection.outputs)
    why = Why(session, graph, reasons := {})
    made = _made_before(session, graph)

    def explained(event: Event) -> Event:
        if event["event"] == "variant" and event["changed"] and (causes := made.pop(event["label"], ())):
            return {**event, "causes": [cause.data() for cause in causes]}
        if "because" not in event:
            return event
        for label in event["targets"]:
            made.pop(label, None)
        reasons[event["step"]] = event["because"]
        return {**event, "causes": [cause.data() for cause in why.causes(graph.steps[event["step"]])]}

    return explained


def _made_before(session: Session, graph: Graph) -> dict[str, Sequence[Cause]]:
    """Why models change of which no step need run, as after a revert: by label."""
    try:
        reasons = changed(session.standing(graph), session.records)
    except Error:
        # The build comes to it, and tells.
        return {}
    why = Why(session, graph, reasons)
    return {output.label: why.roots(output) for output in graph.outputs if output.manifest in reasons}

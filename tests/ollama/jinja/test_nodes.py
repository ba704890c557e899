"""What nodes do when they run: names and where they are known, and what a macro may be given."""

from __future__ import annotations

import pytest

from modelbuild.ollama.jinja import nodes
from modelbuild.ollama.jinja.run import Run, Scope
from modelbuild.ollama.jinja.values import UNDEFINED, Function, Namespace, Unsupported


def test_a_name_set_in_a_loop_is_not_known_behind_it() -> None:
    scope, out = Scope({"x": "a"}, None), list[str]()
    inner = [nodes.assigned("x", None, nodes.named("i")), nodes.output(nodes.named("x"))]
    loop = nodes.looping(["i"], nodes.constant(["b", "c"]), None, inner, [])
    nodes.execute_all([loop, nodes.output(nodes.named("x"))], Run(), scope, out)
    assert "".join(out) == "bca"


def test_an_attribute_is_set_in_a_namespace_and_nowhere_else() -> None:
    space = Namespace({})
    scope = Scope({"ns": space, "text": "x"}, None)
    nodes.assigned("ns", "n", nodes.constant(1))(Run(), scope, [])
    assert space.values == {"n": 1}
    with pytest.raises(TypeError):
        nodes.assigned("text", "n", nodes.constant(1))(Run(), scope, [])


def test_a_macro_takes_what_it_names() -> None:
    scope = Scope({}, None)
    nodes.defined("m", [("a", None), ("b", nodes.named("a"))], [nodes.output(nodes.named("b"))])(Run(), scope, [])
    macro = scope.get("m")
    assert isinstance(macro, Function)
    assert (macro.call("x"), macro.call(a="x", b="y")) == ("x", "y")
    for given, named in ((("x", "y", "z"), {}), (("x",), {"a": "y"}), ((), {"c": "x"})):
        with pytest.raises(TypeError):
            macro.call(*given, **named)


def test_a_macro_of_itself_ends() -> None:
    scope = Scope({}, None)
    nodes.defined("m", [], [nodes.output(nodes.called(nodes.named("m"), [], {}))])(Run(), scope, [])
    with pytest.raises(Unsupported, match="too deep"):
        scope.get("m").call()


def test_only_what_is_asked_for_is_evaluated() -> None:
    def fails(run: Run, scope: Scope) -> object:
        raise AssertionError

    run, scope = Run(), Scope({}, None)
    assert nodes.or_(nodes.constant(1), fails)(run, scope) == 1
    assert nodes.and_(nodes.constant(0), fails)(run, scope) == 0
    assert nodes.either(nodes.constant(True), nodes.constant(2), fails)(run, scope) == 2
    assert nodes.named("missing")(run, scope) is UNDEFINED

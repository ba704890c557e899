"""What the reader makes of a template: functions of the run and the names in scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelbuild.ollama.jinja.functions import OPERATORS
from modelbuild.ollama.jinja.run import DEEPEST, Run, Scope
from modelbuild.ollama.jinja.values import (
    UNDEFINED,
    Function,
    Loop,
    Namespace,
    Unsupported,
    attribute_of,
    bounded,
    elements,
    item_of,
    printed,
)

Expression = Callable[[Run, Scope], Any]
Statement = Callable[[Run, Scope, list[str]], None]


class Break(Exception):
    pass


class Continue(Exception):
    pass


def written(text: str) -> Statement:
    return lambda run, scope, out: run.write(out, text)


def output(value: Expression) -> Statement:
    return lambda run, scope, out: run.write(out, printed(value(run, scope)))


def execute_all(statements: Sequence[Statement], run: Run, scope: Scope, out: list[str]) -> None:
    for statement in statements:
        run.step()
        statement(run, scope, out)


def block(inner: list[Statement]) -> Statement:
    return lambda run, scope, out: execute_all(inner, run, scope, out)


def leaving(by: type[Exception]) -> Statement:
    def leave(run: Run, scope: Scope, out: list[str]) -> None:
        raise by

    return leave


def conditional(branches: list[tuple[Expression | None, list[Statement]]]) -> Statement:
    def execute(run: Run, scope: Scope, out: list[str]) -> None:
        for condition, inner in branches:
            if condition is None or condition(run, scope):
                execute_all(inner, run, scope, out)
                return

    return execute


def looping(
    targets: list[str],
    items: Expression,
    only: Expression | None,
    inner: list[Statement],
    otherwise: list[Statement],
) -> Statement:
    def named(item: Any) -> dict[str, Any]:
        if len(targets) == 1:
            return {targets[0]: item}
        values = elements(item)
        if len(values) != len(targets):
            raise ValueError("unpacking")
        return dict(zip(targets, values, strict=True))

    def execute(run: Run, scope: Scope, out: list[str]) -> None:
        values = []
        for item in elements(items(run, scope)):
            run.step()
            if only is None or only(run, Scope(named(item), scope)):
                values.append(item)
        loop = Loop(values)
        for loop.at, item in enumerate(values):
            try:
                execute_all(inner, run, Scope({"loop": loop, **named(item)}, scope), out)
            except Continue:
                continue
            except Break:
                break
        if not values:
            execute_all(otherwise, run, Scope({}, scope), out)

    return execute


def assigned(target: str, attribute: str | None, value: Expression) -> Statement:
    def execute(run: Run, scope: Scope, out: list[str]) -> None:
        if attribute is None:
            scope.names[target] = value(run, scope)
            return
        space = scope.get(target)
        if not isinstance(space, Namespace):
            raise TypeError("not a namespace")
        space.values[attribute] = value(run, scope)

    return execute


def captured(inner: list[Statement]) -> Expression:
    def evaluate(run: Run, scope: Scope) -> str:
        out: list[str] = []
        execute_all(inner, run, Scope({}, scope), out)
        return "".join(out)

    return evaluate


def defined(name: str, parameters: list[tuple[str, Expression | None]], inner: list[Statement]) -> Statement:
    def execute(run: Run, scope: Scope, out: list[str]) -> None:
        names = [parameter for parameter, _ in parameters]

        def call(*given: Any, **named: Any) -> str:
            if len(given) > len(names) or not named.keys() <= set(names[len(given) :]):
                raise TypeError("arguments")
            run.depth += 1
            if run.depth > DEEPEST // 3:
                raise Unsupported("too deep")
            values = {**dict(zip(names, given, strict=False)), **named}
            local = Scope({}, scope)
            for parameter, default in parameters:
                if parameter in values:
                    local.names[parameter] = values[parameter]
                else:
                    local.names[parameter] = default(run, local) if default else UNDEFINED
            text: list[str] = []
            execute_all(inner, run, local, text)
            run.depth -= 1
            return "".join(text)

        scope.names[name] = Function(call)

    return execute


def constant(value: Any) -> Expression:
    return lambda run, scope: value


def named(name: str) -> Expression:
    return lambda run, scope: scope.get(name)


def listed(values: list[Expression]) -> Expression:
    return lambda run, scope: run.keep([value(run, scope) for value in values])


def mapped(pairs: list[tuple[Expression, Expression]]) -> Expression:
    return lambda run, scope: run.keep({key(run, scope): value(run, scope) for key, value in pairs})


def either(condition: Expression, value: Expression, other: Expression) -> Expression:
    return lambda run, scope: value(run, scope) if condition(run, scope) else other(run, scope)


def or_(left: Expression, right: Expression) -> Expression:
    return lambda run, scope: left(run, scope) or right(run, scope)


def and_(left: Expression, right: Expression) -> Expression:
    return lambda run, scope: left(run, scope) and right(run, scope)


def not_(value: Expression) -> Expression:
    return lambda run, scope: not value(run, scope)


def negative(value: Expression) -> Expression:
    return lambda run, scope: -value(run, scope)


def compared(first: Expression, rest: list[tuple[str, Expression]]) -> Expression:
    def evaluate(run: Run, scope: Scope) -> bool:
        left = first(run, scope)
        for word, value in rest:
            run.step()
            right = value(run, scope)
            run.handle(right)
            if not OPERATORS[word](left, right):
                return False
            left = right
        return True

    return evaluate


def operation(word: str, left: Expression, right: Expression) -> Expression:
    operator = OPERATORS[word]

    def evaluate(run: Run, scope: Scope) -> Any:
        run.step()
        operands = left(run, scope), right(run, scope)
        for operand in operands:
            run.handle(operand)
        result = bounded(operator(*operands))
        return run.keep(result) if isinstance(result, (list, tuple)) else result

    return evaluate


def concatenated(parts: list[Expression]) -> Expression:
    def evaluate(run: Run, scope: Scope) -> Any:
        run.step()
        return bounded("".join(printed(part(run, scope)) for part in parts))

    return evaluate


def member(value: Expression, name: str) -> Expression:
    def evaluate(run: Run, scope: Scope) -> Any:
        run.step()
        return attribute_of(value(run, scope), name)

    return evaluate


def element(value: Expression, key: Expression) -> Expression:
    def evaluate(run: Run, scope: Scope) -> Any:
        run.step()
        return item_of(value(run, scope), key(run, scope))

    return evaluate


def sliced(value: Expression, bounds: list[Expression | None]) -> Expression:
    def evaluate(run: Run, scope: Scope) -> Any:
        run.step()
        whole = value(run, scope)
        numbers = [bound and bound(run, scope) for bound in bounds]
        if not isinstance(whole, (str, list, tuple)):
            raise TypeError("a slice of neither text nor list")
        run.handle(whole)
        return whole[slice(*numbers)]

    return evaluate


def called(function: Expression, values: list[Expression], named: dict[str, Expression]) -> Expression:
    def evaluate(run: Run, scope: Scope) -> Any:
        run.step()
        called = function(run, scope)
        if not isinstance(called, Function):
            raise TypeError("not callable")
        given = {name: value(run, scope) for name, value in named.items()}
        result = bounded(called.call(*[value(run, scope) for value in values], **given))
        run.handle(result)
        return result

    return evaluate


def applied(
    table: Mapping[str, Callable[..., Any]],
    what: str,
    name: str,
    value: Expression,
    values: list[Expression],
    named: dict[str, Expression],
) -> Expression:
    def evaluate(run: Run, scope: Scope) -> Any:
        run.step()
        if name not in table:
            raise Unsupported(f"{what} '{name}'")
        given = {word: argument(run, scope) for word, argument in named.items()}
        subject = value(run, scope)
        run.handle(subject)
        return bounded(table[name](subject, *[argument(run, scope) for argument in values], **given))

    return evaluate

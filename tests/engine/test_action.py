"""Actions: what their digests are taken of, and that no explanation leaves any of it out."""

from __future__ import annotations

import pytest

from modelbuild.engine.action import Action, differences

ONE = Action("join", 1, '{"text":"a","where":{"x":1}}', (("0", "xxh3:1"), ("1", "sha256:2")))


def test_the_digest_is_taken_of_these_lines_and_of_no_others() -> None:
    # Results are recorded under it: with any other spelling all that was made before would be made again.
    assert ONE.digest == "sha256:065d4befd3b66f5aca5735178cbd59c7a6903ef8d956ee676f5fe13e85eb7572"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Action("cut", 1, ONE.parameters, ONE.inputs), [("kind", "join", "cut")]),
        (Action("join", 2, ONE.parameters, ONE.inputs), [("version", "1", "2")]),
        (Action("join", 1, '{"text":"b","where":{"x":1}}', ONE.inputs), [("parameter 'text'", "a", "b")]),
        (
            Action("join", 1, '{"text":"a","where":{"y":1}}', ONE.inputs),
            [("parameter 'where.x'", "1", "(none)"), ("parameter 'where.y'", "(none)", "1")],
        ),
        (
            Action("join", 1, ONE.parameters, (("0", "xxh3:1"), ("1", "sha256:3"))),
            [("input '1'", "sha256:2", "sha256:3")],
        ),
        (Action("join", 1, ONE.parameters, ONE.inputs[:1]), [("input '1'", "sha256:2", "(none)")]),
    ],
)
def test_whatever_changes_the_digest_is_a_difference(other: Action, expected: list[tuple[str, str, str]]) -> None:
    assert other.digest != ONE.digest
    assert differences(ONE, other) == expected


def test_new_parameters_are_told_before_inputs() -> None:
    other = Action("join", 1, '{"cut":3,"text":"a","where":{"x":1}}', (("0", "absent"), ONE.inputs[1]))
    assert [field for field, _, _ in differences(ONE, other)] == ["parameter 'cut'", "input '0'"]


def test_equal_actions_do_not_differ_however_they_were_kept() -> None:
    again = Action.decode(ONE.encode())
    assert again.digest == ONE.digest
    assert differences(ONE, again) == []

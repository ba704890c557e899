"""Tables and lines that fit a terminal."""

from __future__ import annotations

from modelbuild.cli.tables import Column, columns, hanging, short_digests, table, wrapped

NAMES = [Column("NAME", wrap=True), Column("SIZE", right=True), Column("FROM", drop=1)]


def test_a_table_aligns_its_columns_and_leaves_no_blanks_at_the_end() -> None:
    assert table([Column("name"), Column("size", right=True)], [["a", "10 B"], ["longer", "1 B"]]) == "\n".join(
        ["name    size", "a       10 B", "longer   1 B"]
    )


def test_wide_and_combining_characters_take_the_columns_that_a_terminal_gives_them() -> None:
    assert [columns(text) for text in ("abc", "模型", "e\u0301", "ﾓﾃﾞﾙ", "🦙", "a\u200bb")] == [3, 4, 1, 4, 2, 2]
    assert columns("\x1b[1;31mfailed\x1b[0m") == 6
    rows = table([Column("N"), Column("S")], [["模型", "x"], ["abcd", "y"]]).split("\n")
    assert rows == ["N     S", "模型  x", "abcd  y"]


def test_a_text_is_wrapped_between_words_then_behind_signs_then_anywhere() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("registry.example/team/model:tag", 12) == ["registry.", "example/", "team/model:", "tag"]
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrapped("模型模型模", 5) == ["模型", "模型", "模"]
    assert wrapped("", 5) == [""]


def test_a_command_in_backquotes_is_not_broken_where_a_line_takes_it() -> None:
    assert wrapped("to build it: `modelbuild -f x`, then run it", 24) == [
        "to build it:",
        "`modelbuild -f x`, then",
        "run it",
    ]
    assert wrapped("`modelbuild -f one -f two -f three`", 16) == ["`modelbuild -f", "one -f two -f", "three`"]


def test_a_cell_is_one_line_whatever_it_holds() -> None:
    assert table([Column("A"), Column("B")], [["x\ny", "\x1b[31m"], ["z", ""]]) == "A     B\nx\\ny  \\x1b[31m\nz"


def test_a_table_without_a_width_is_whole() -> None:
    row = ["n" * 300, "1 B", "f" * 300]
    assert table(NAMES, [row]).split("\n")[1] == f"{row[0]}   1 B  {row[2]}"


def test_a_table_that_does_not_fit_drops_columns_then_wraps() -> None:
    row = ["team/model:q4_K_M", "1 B", "./weights"]
    assert table(NAMES, [row], 40).split("\n")[1] == "team/model:q4_K_M   1 B  ./weights"
    assert table(NAMES, [row], 24).split("\n") == ["NAME               SIZE", "team/model:q4_K_M   1 B"]
    assert table(NAMES, [row], 18).split("\n") == ["NAME          SIZE", "team/model:    1 B", "q4_K_M"]


def test_columns_that_can_be_wrapped_are_wrapped_before_others_go() -> None:
    row = ["a long name of words " * 3, "1 B", "./weights"]
    shown = table(NAMES, [row], 50)
    assert "./weights" in shown and max(map(columns, shown.split("\n"))) <= 50


def test_a_line_goes_on_further_right() -> None:
    assert hanging("built  a/b:c  1 B", None, 7) == "built  a/b:c  1 B"
    assert hanging("  one two three four five", 20, 4) == "  one two three\n    four five"
    assert max(map(columns, hanging("built      " + "模型" * 80, 80, 11).split("\n"))) <= 80


def test_digests_are_cut_where_they_stand() -> None:
    assert short_digests(f"sha256:{'a' * 64}  2 B, sha256:abc") == f"sha256:{'a' * 12}  2 B, sha256:abc"

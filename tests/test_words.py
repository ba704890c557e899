"""How values, sizes and names read."""

from __future__ import annotations

import pytest

from modelbuild import words
from modelbuild.words import as_text, cut, did_you_mean, did_you_mean_within, got, in_json, listed, plural, size


def test_scalars_read_inside_a_string_as_toml_spells_them() -> None:
    assert [as_text(value) for value in (True, False, 12, 1.5, "q8_0")] == ["true", "false", "12", "1.5", "q8_0"]
    number = int("f" * 4000, 16)
    assert as_text(number) == hex(number)


def test_an_error_names_a_value_by_its_kind_and_cuts_long_ones() -> None:
    assert got("q8") == "'q8'"
    assert got("x" * 61) == f"'{'x' * 59}…'"
    assert got(int("f" * 4000, 16)) == f"0x{'f' * 57}…"
    assert [got(value) for value in (True, {}, [], None)] == ["true", "a table", "a list", "a NoneType"]


def test_did_you_mean_finds_words_in_any_case() -> None:
    assert did_you_mean("q4_k_n", ["q4_K_M", "q8_0"]) == "did you mean 'q4_K_M'?"
    assert did_you_mean("zzz", ["q4_K_M"]) is None


def test_a_word_is_also_found_behind_the_name_of_a_part() -> None:
    known = ["vision/chat", "support/chat", "vision/tuned", "base"]
    assert did_you_mean_within("tunde", known) == "did you mean 'vision/tuned'?"
    assert did_you_mean_within("chatt", known) == "did you mean one of 'vision/chat', 'support/chat'?"
    assert did_you_mean_within("vision/tunde", known) == "did you mean 'vision/tuned'?"
    assert did_you_mean_within("bsae", known) == "did you mean 'base'?"
    assert did_you_mean_within("zzz", known) is None


def test_long_lists_lose_their_middle() -> None:
    assert listed(map(str, range(20)), 5) == "0, 1, 2, …, 19"
    assert listed(["a", "b"]) == "a, b"


def test_one_of_a_thing_and_several() -> None:
    assert [plural(count, "step") for count in (0, 1, 2, 1234)] == ["0 steps", "1 step", "2 steps", "1,234 steps"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (999_600, "1.0 MB"), (4_661_211_808, "4.7 GB")]
    + [(142_000_000_000, "142 GB"), (2_500_000_000_000_000, "2500 TB")],
)
def test_sizes_read_as_ollama_shows_them(count: int, shown: str) -> None:
    assert size(count) == shown


def test_long_times_read_as_clock() -> None:
    assert words.duration(75) == "75.00 s"
    assert words.duration(754) == "12:34"
    assert words.clock(3725) == "1:02:05"


def test_a_text_is_cut_between_words() -> None:
    assert cut("one two three", 13) == "one two three"
    assert cut("one two three", 12) == "one two…"
    assert cut("one two three", 8) == "one two…"
    assert cut("x" * 20, 10) == "x" * 9 + "…"
    assert cut("a " + "x" * 20, 10) == "a xxxxxxx…", "better a broken word than next to nothing"


def test_values_of_json_read_in_its_words() -> None:
    assert [in_json(value) for value in (None, True, 12, 1.5, "q8")] == [
        "null",
        "true",
        "the number 12",
        "the number 1.5",
        'the text "q8"',
    ]
    assert [in_json(value) for value in ([1], {})] == ["a list", "an object"]
    assert in_json("x" * 100) == 'the text "' + "x" * 58 + "…"
    assert in_json(1 << 20_000) == "a number of thousands of digits"

"""Tables over one another, by themselves."""

from __future__ import annotations

from modelbuild.project.locate import Place
from modelbuild.project.overlay import Said, Table, in_defaults, lay, put

LOW, HIGH = Place("low", "x"), Place("high", "x")


def test_the_table_on_top_replaces_and_says_where() -> None:
    laid = lay([Table({"system": "a", "tag": "t"}, LOW), Table({"system": ""}, HIGH)])
    assert laid == {"system": Said("", HIGH.at("system")), "tag": Said("t", LOW.at("tag"))}


def test_tables_that_merge_do_so_by_entry_each_with_its_place() -> None:
    laid = lay([Table({"parameters": {"seed": 1, "top_k": 1}}, LOW), Table({"parameters": {"seed": 2}}, HIGH)])
    assert laid["parameters"].value == {
        "seed": Said(2, HIGH.at("parameters", "seed")), "top_k": Said(1, LOW.at("parameters", "top_k")),
    }  # fmt: skip


def test_metadata_merges_by_whole_key_however_it_is_written() -> None:
    laid = lay([Table({"metadata": {"general.name": "a"}}, LOW), Table({"metadata": {"general": {"name": "b"}}}, HIGH)])
    assert laid["metadata"].value == {"general.name": Said("b", HIGH.at("metadata", "general", "name"))}


def test_what_lies_below_is_left_as_it_was() -> None:
    below = lay([Table({"parameters": {"seed": 1}}, LOW)])
    above = lay([Table({"parameters": {"seed": 2}}, HIGH)], below)
    put(above, "tag", "t", HIGH)
    assert below == {"parameters": Said({"seed": Said(1, LOW.at("parameters", "seed"))}, LOW.at("parameters"))}


def test_which_places_are_in_defaults() -> None:
    top = Place("ModelBuild.toml", "x")
    assert in_defaults(top.at("defaults", "system"))
    assert not in_defaults(top.at("model", "defaults")) and not in_defaults(Place("--set defaults.system=x"))

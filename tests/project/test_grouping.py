"""Groups of a project and its parts."""

from __future__ import annotations

from pathlib import Path

from tests.project.test_parts import BASE, CHAT, parts
from tests.projects import check_golden, complaint, load, write


def test_a_parts_name_means_what_is_built_in_its_folder(tmp_path: Path) -> None:
    more = CHAT + '[model.other]\nfrom = "base"\n'
    project = parts(tmp_path, vision='[project]\ndefault = ["chat"]\n' + more, support=more)
    assert [each.label for each in project.select(["vision"])] == ["vision/chat"]
    assert [each.label for each in project.select(["vision/*"])] == ["vision/chat", "vision/other"]
    assert [each.label for each in project.select(["support"])] == ["support/chat", "support/other"]
    assert len(project.select()) == 5


def test_members_are_words_of_the_part_first(tmp_path: Path) -> None:
    own = BASE + CHAT + '[group]\nrelease = ["chat", "vision/all", "support"]\n'
    vision = CHAT + '[model.b]\nfrom = "base"\n[group]\nall = ["chat", "base", "support/chat", "more"]\nmore = ["b*"]\n'
    project = parts(tmp_path, own, vision=vision, support=CHAT)
    assert {each.label for each in project.select(["vision/all"])} == {
        "vision/chat",
        "base",
        "support/chat",
        "vision/b",
    }
    assert {each.label for each in project.select(["release"])} == {
        "chat", "vision/chat", "base", "support/chat", "vision/b",
    }  # fmt: skip


def test_seen_from_a_part_its_words_come_first(tmp_path: Path) -> None:
    own = BASE + CHAT
    vision = '[project]\ndefault = ["q"]\n' + CHAT + '[model.q]\nfrom = "./w"\nmatrix.quantize = ["q8_0", "f16"]\n'
    words = parts(tmp_path, own, vision=vision, support=CHAT).targets.words.within("vision")
    assert words.resolve("chat") == {"vision/chat"} and words.resolve("support/chat") == {"support/chat"}
    assert words.resolve("base") == {"base"} and words.resolve("vision/chat") == {"vision/chat"}
    assert words.resolve("*") == {"vision/chat", "vision/q:q8_0", "vision/q:f16"} == words.resolve("vision/*")
    assert words.resolve("q:f16") == {"vision/q:f16"} and words.select(()) == {"vision/q:q8_0", "vision/q:f16"}
    assert words.unknown("chatt").hint == "did you mean 'chat'?"
    assert words.unknown("q:f61").hint == "did you mean 'f16'?"
    assert words.unknown("support/chta").hint == "did you mean 'support/chat'?"
    assert {"q:f16", "vision/q:f16", "support/chat"} <= set(words.written(words.labels))


def test_from_the_projects_folder_all_parts_are_searched(tmp_path: Path) -> None:
    words = parts(tmp_path, vision=CHAT + '[model.tuned]\nfrom = "base"\n', support=CHAT).targets.words
    assert words.unknown("tunde").hint == "did you mean 'vision/tuned'?"
    assert words.unknown("chat").hint == "did you mean one of 'support/chat', 'vision/chat'?"


def test_what_cannot_be_filled_in_stops_the_group(tmp_path: Path) -> None:
    vision = '[project]\ndefault = ["${matrix.x}"]\n' + CHAT + '[group]\na = ["${matrix.y}"]\n'
    write(tmp_path, {"teams/vision/ModelBuild.toml": vision})
    project = load(tmp_path, BASE)
    assert {each.label for each in project.broken} == {"[group.vision]", "[group.vision/a]"}
    assert [each.label for each in project.variants] == ["base", "vision/chat"]


def test_faults_of_a_parts_groups_stop_the_group(tmp_path: Path) -> None:
    vision = '[project]\ndefault = ["nope"]\n' + CHAT + '[group]\na = ["b"]\nb = ["a"]\nc = ["chta"]\nd = ["z*"]\n'
    write(tmp_path, {"teams/vision/ModelBuild.toml": vision})
    project = load(tmp_path, BASE)
    assert [each.label for each in project.variants] == ["base", "vision/chat"]
    assert project.targets.words.resolve("vision/c") == {"[group.vision/c]"}
    check_golden("parts-groups", complaint(tmp_path, BASE))

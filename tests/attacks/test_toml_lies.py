"""Texts and folders made to exhaust or to mislead the reader of a ModelBuild.toml."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.errors import Error, Errors

from ..projects import complaint, declared, load, write

FROM = "FROM ./x\n"


@pytest.fixture(autouse=True)
def soon_enough() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < 60, "took too long"


@pytest.mark.parametrize("opening", ["[", "{a=", "[{a=["])
def test_deep_nesting(tmp_path: Path, opening: str) -> None:
    assert "error: ModelBuild.toml" in complaint(tmp_path, "x = " + opening * 3000)
    closing = "".join({"[": "]", "{": "}"}.get(char, "") for char in reversed(opening))
    for depth in (150, 400, 900):
        assert "error: ModelBuild.toml" in complaint(tmp_path, "x = " + opening * depth + "1" + closing * depth)
        text = '[model.a]\nfrom = "x"\nmetadata = { x = ' + opening * depth + "1" + closing * depth + " }\n"
        assert "error: ModelBuild.toml" in complaint(tmp_path, text)


def test_deep_dotted_keys(tmp_path: Path) -> None:
    assert "error: ModelBuild.toml" in complaint(tmp_path, ".".join("a" * 5000) + " = 1\n")


def test_a_number_with_too_many_digits(tmp_path: Path) -> None:
    assert "error: ModelBuild.toml" in complaint(tmp_path, f"[vars]\nx = {'9' * 5000}\n[model.a]\nfrom = 1\n")
    text = f'[model.a]\nfrom = "x"\nparameters = {{ seed = {"9" * 4000} }}\n'
    assert "whole number" in complaint(tmp_path, text)


def test_variables_a_hundred_deep_and_more(tmp_path: Path) -> None:
    def chain(count: int) -> str:
        links = "".join(f'v{n} = "${{v{n + 1}}}"\n' for n in range(count))
        return f'[model.m]\nfrom = "${{v0}}"\n[vars]\n{links}v{count} = "end"\n'

    assert load(tmp_path, chain(90)).variants[0].froms[0].text == "end"
    assert "more than 100 levels deep" in complaint(tmp_path, chain(5000))


def test_groups_more_than_a_thousand_deep(tmp_path: Path) -> None:
    groups = "".join(f'g{n} = ["g{n + 1}", "g{n + 2}"]\n' for n in range(1200))
    loaded = load(tmp_path, f'[model.m]\nfrom = "x"\n[group]\n{groups}g1200 = ["m"]\ng1201 = ["m"]\n')
    assert [each.label for each in loaded.select(["g0"])] == ["m"]


def test_models_that_extend_more_than_a_thousand(tmp_path: Path) -> None:
    tables = "".join(f'[model.m{n}]\nextends = "m{n + 1}"\n' for n in range(1200))
    assert "more than 100 levels deep" in complaint(tmp_path, tables + '[model.m1200]\nfrom = "x"\n')


def test_a_matrix_of_more_rows_than_atoms(tmp_path: Path) -> None:
    axes = "".join(f"a{n} = [{', '.join(map(str, range(1000)))}]\n" for n in range(30))
    assert "expected at most 100000" in complaint(tmp_path, f'[model.m]\nfrom = "x"\n[model.m.matrix]\n{axes}')


def test_an_include_of_more_rows_than_atoms(tmp_path: Path) -> None:
    axes = "".join(f'a{n} = ["x"]\n' for n in range(10))
    new = ", ".join(f"a{n} = [{', '.join(map(str, range(1000)))}]" for n in range(10))
    toml = f'[model.m]\nfrom = "x"\ninclude = [{{ {new} }}]\n[model.m.matrix]\n{axes}'
    assert "expected at most 100000" in complaint(tmp_path, toml)


def test_a_glob_made_to_backtrack(tmp_path: Path) -> None:
    files = {"a" * 60 + "/Modelfile": FROM}
    toml = f'[project]\nmodelfiles = ["{"*a" * 25}b/Modelfile", "{"**/" * 30}Modelfile"]\n[model."{"*a" * 25}b"]\nsystem = "x"\n'
    assert "matches no file" in complaint(tmp_path, toml, files)


def test_a_regular_expression_made_to_backtrack_is_only_compiled(tmp_path: Path) -> None:
    load(tmp_path, "[ftype.mine]\nbase = 'q4_K_M'\ntensors = { '(a+)+$' = 'q6_K' }\n[model.m]\nfrom = 'x'\n")
    nested = "(" * 3000 + ")" * 3000
    assert "error: ModelBuild.toml" in complaint(
        tmp_path, f"[ftype.mine]\nbase = 'q8_0'\ntensors = {{ '{nested}' = 'q6_K' }}\n"
    )


def test_many_references_in_one_string(tmp_path: Path) -> None:
    text = "${x}$${" * 20000
    made = load(tmp_path, f'[model.m]\nfrom = "x"\nsystem = "{text}"\n[vars]\nx = "y"\n').variants[0]
    assert made.string("system") == "y${" * 20000
    assert "has no closing" in complaint(tmp_path, f'[model.m]\nfrom = "x"\nsystem = "{"${" * 50000}"\n')


def test_thousands_of_errors_are_placed_in_time(tmp_path: Path) -> None:
    text = complaint(tmp_path, "".join(f'[model.m{n}]\nfrm = "x"\nquantize = "q9"\n' for n in range(1000)))
    assert text.count("error:") == 2000


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    toml = '[model.a]\nfrom = "x"\nsystem = { file = "pipe" }\n[model.b]\nmodelfile = "pipe"\n[model.c]\nmodelfile = "/dev/zero"\n'
    text = complaint(tmp_path, toml)
    assert text.count("no file 'pipe'") == 2
    assert "no file '../" in text or "no file '/dev/zero'" in text
    os.mkfifo(tmp_path / "ModelBuild.toml.fifo")
    with pytest.raises(Error):
        load(tmp_path, None, file="ModelBuild.toml.fifo")


def test_paths_that_hold_nul_or_go_on_for_ever(tmp_path: Path) -> None:
    for path in ("a\\u0000b", "x/" * 5000, "~nobody-at-all/x", "a" * 300):
        for key in ("modelfile", "draft", "projector"):
            complaint(tmp_path, f'[model.a]\nfrom = "x"\n{key} = "{path}"\n')
        complaint(
            tmp_path, f'[model.a]\nfrom = "x"\nsystem = {{ file = "{path}" }}\nadapters = [{{ path = "{path}" }}]\n'
        )
        complaint(tmp_path, f'[project]\nmodels = "{path}"\nmodelfiles = ["{path}", "{path}/*/M", "*/{path}"]\n')


def test_a_folder_tree_deeper_than_the_stack(tmp_path: Path) -> None:
    here = os.getcwd()
    depth = 1300
    try:
        os.chdir(tmp_path)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("Modelfile").write_text(FROM)
        loaded = load(tmp_path, '[project]\nmodelfiles = ["**/Modelfile"]\n')
        assert [each.label for each in loaded.variants] == ["d"]
    finally:  # pytest could not remove it
        Path("Modelfile").unlink(missing_ok=True)
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")
        os.chdir(here)


def test_a_modelfile_reached_by_two_ways_is_one(tmp_path: Path) -> None:
    write(tmp_path, {"a/Modelfile": FROM})
    toml = (
        '[project]\nmodelfiles = ["a/Modelfile", "*/Modelfile", "a/../a/Modelfile", "./a/Modelfile", "**/Modelfile"]\n'
    )
    assert [each.label for each in load(tmp_path, toml).variants] == ["a"]


def test_damage_to_what_was_kept_is_no_harm(tmp_path: Path) -> None:
    from ..projects import Kept

    keep = Kept()
    toml = '[model.a]\nfrom = "x"\n'
    fresh = load(tmp_path, toml, keep=keep)
    for damage in (b"", b"{", b"[]", b"null", b"[1, 2]", b'{"a": 1}', b"\xff", b'[{"model": 5}, []]'):
        for key in keep:
            keep[key] = damage
        try:
            assert declared(load(tmp_path, toml, keep=keep)) == declared(fresh)
        except (Error, Errors) as error:
            pytest.fail(f"{damage!r}: {error}")

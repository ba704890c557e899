"""Projects that load, and a golden for every rule that only shows when a project is expanded."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error, Errors
from tests.project.test_document import CASES
from tests.project.test_lock import WRONG
from tests.project.test_overrides import OPTIONS
from tests.project.test_parts import BROKEN
from tests.project.test_unused import CASES as UNUSED
from tests.projects import FROM, GOLDEN, R, check_golden, complaint, labels, load


def test_a_byte_order_mark_counts_for_nothing(tmp_path: Path) -> None:
    loaded = load(tmp_path, '\ufeff[model.a]\r\nfrom = "./w"\r\n')
    assert labels(loaded) == ["a"]


def test_an_error_is_an_error_whatever_comes_first(tmp_path: Path) -> None:
    with pytest.raises((Error, Errors)):
        load(tmp_path, "[modl.m]\n")


GOLDENS: dict[str, tuple[str, dict[str, str | bytes]]] = {
    "discover-two": (
        '[project]\nmodelfiles = ["**/Modelfile"]\n',
        {"x/chat/Modelfile": FROM, "y/chat/Modelfile": FROM, "z/other/Modelfile": FROM},
    ),
    "discover-two-kinds": (
        '[project]\nmodelfiles = ["**/Modelfile", "**/*.Modelfile"]\n',
        {"chat/Modelfile": FROM, "chat.Modelfile": FROM, "a/chat.Modelfile": FROM},
    ),
    "discover-and-declare": (
        '[project]\nmodelfiles = ["**/Modelfile"]\n[model.chat]\nmodelfile = "b/Modelfile"\n',
        {"x/chat/Modelfile": FROM, "b/Modelfile": FROM},
    ),
    "discover-no-name": ('[project]\nmodelfiles = ["*.txt"]\n', {"chat.txt": FROM}),
    "discover-bad-name": ('[project]\nmodelfiles = ["*/Modelfile"]\n', {"my chat/Modelfile": FROM}),
    "discover-no-file": ('[project]\nmodelfiles = ["models/**"]\n', {}),
    "discover-nothing": ('[project]\nmodelfiles = ["models/**/Modelfile"]\n[model.a]\nfrom = "x"\n', {}),
    "modelfile-missing": ('[model.chat]\nmodelfile = "chat/Modelfile"\n', {}),
    "modelfile-folder": ('[model.chat]\nmodelfile = "chat"\n', {"chat/Modelfile": FROM}),
    "modelfile-wrong": (
        '[model.chat]\nmodelfile = "chat/Modelfile"\n[model.two]\nmodelfile = "chat/Modelfile"\nquantize = "q9"\n',
        {"chat/Modelfile": FROM + "PARAMETER temperature warm\nPARAMETER top_k x\n"},
    ),
    "modelfile-broken": ('[model.chat]\nmodelfile = "Modelfile.x"\n', {"Modelfile.x": "FORM x\n"}),
    "modelfile-two-adapters": (
        '[model.chat]\nmodelfile = "Modelfile.x"\n',
        {"Modelfile.x": FROM + "ADAPTER a\nADAPTER b\n"},
    ),
    "model-without-from": ('[model.chat]\nsystem = "x"\n', {}),
    "model-misspelled": (
        '[project]\nmodelfiles = ["*/Modelfile"]\n[model.chta]\nsystem = "x"\n',
        {"chat/Modelfile": FROM},
    ),
    "text-missing": ('[model.chat]\nfrom = "x"\nsystem = { file = "prompts/chat.txt" }\n', {}),
    "text-folder": ('[model.chat]\nfrom = "x"\nsystem = { file = "prompts" }\n', {"prompts/a": ""}),
    "text-binary": ('[model.chat]\nfrom = "x"\nlicense = [{ file = "l" }]\n', {"l": b"\xff\xfe"}),
    "extends-unknown": ('[model.chat]\nfrom = "x"\n[model.b]\nextends = "chta"\n', {}),
    "extends-a-name": ('[model.chat]\nfrom = "x"\n[model.b]\nextends = "chat:latest"\n', {}),
    "extends-circle": (
        '[model.a]\nfrom = "x"\nextends = "b"\n[model.b]\nextends = "c"\n[model.c]\nextends = "a"\n',
        {},
    ),
    "extends-same-name": ('[model.a]\nfrom = "x"\nname = "n"\n[model.b]\nextends = "a"\n', {}),
    "matrix-unknown-axis": (R + 'matrix.quantize = ["q8_0"]\nexclude = [{ quantise = "q8_0" }]\n', {}),
    "matrix-unknown-label": (R + 'matrix.quantize = ["q8_0"]\nexclude = [{ quantize = "q8_1" }]\n', {}),
    "matrix-unknown-default": (R + 'system = "${matrix.tone}"\nmatrix.tone = { kind = "a", terse = "b" }\ndefault.tone = "ters"\n', {}),
    "matrix-axis-as-variable": (R + 'system = "${who}${matrix.who}"\nmatrix = { who = ["x", "y"] }\n', {}),
    "matrix-default-many": (R + 'system = "${matrix.a}${matrix.b}"\nmatrix = { a = ["x"], b = ["y", "z"] }\ndefault.a = "x"\n', {}),
    "matrix-default-none": (
        R + 'system = "${matrix.a}${matrix.b}"\nmatrix = { a = ["x", "w"], b = ["y"] }\nexclude = [{ a = "x" }]\ndefault.a = "x"\n',
        {},
    ),
    "matrix-empty": (R + 'matrix.a = ["x"]\nexclude = [{ a = "x" }]\n', {}),
    "matrix-twice": (R + 'matrix.quantize = ["q4_K", "Q4_K_M"]\n', {}),
    "matrix-ftype": (R + 'matrix.quantize = ["q8_0", "q4_k_n"]\n', {}),
    "matrix-axis-name": (R + 'matrix = { "a b" = ["x"], extends = ["y"] }\n', {}),
    "matrix-huge": (R + "matrix = { " + ", ".join(f"a{n} = [{', '.join(map(str, range(99)))}]" for n in range(9)) + " }\n", {}),
    "matrix-include-near-parameter": (R + 'matrix.top_k = [1]\ninclude = [{ top_k = 1, temprature = 0.3 }]\n', {}),
    "matrix-include-new-label": (R + 'system = "${matrix.t}"\nmatrix.t = { a = "./a" }\ninclude = [{ t = "b" }]\n', {}),
    "matrix-include-partial": (R + 'system = "${matrix.t}${matrix.u}"\nmatrix = { t = ["a"], u = ["b"] }\ninclude = [{ t = "c" }]\n', {}),
    "matrix-include-table": (R + 'system = "${matrix.t}"\nmatrix.t = ["a"]\ninclude = [{ t = { x = 1 } }]\n', {}),
    "matrix-missing": (R + 'include = [{ quantize = "q8_0" }]\nexclude = [{ a = "b" }]\ndefault.a = "b"\n', {}),
    "matrix-bad-tag": (R + 'system = "${matrix.base}"\nmatrix.base = ["./base/1b", "./base/3b"]\n', {}),
    "matrix-no-such-reference": (R + 'system = "${matrix.bas}"\nmatrix.base = ["a"]\n', {}),
    "matrix-no-matrix": (R + 'system = "${matrix.base}"\n', {}),
    "matrix-table-reference": (R + 'system = "${matrix.parameters.value}"\nmatrix.parameters = { a = { seed = 1 } }\n', {}),
    "matrix-same-labels": (R + 'name = "${matrix.a}_${matrix.b}"\ntag = "t"\nmatrix = { a = ["x", "x-y"], b = ["z", "y-z"] }\n', {}),
    "tags-without-default": (R + 'tags = ["v1"]\nmatrix.quantize = ["q8_0", "f16"]\n', {}),
    "tags-bad": (R + 'tags = ["v 1"]\ntag = "./x"\n', {}),
    "name-clash": ('[model.a]\nfrom = "x"\nname = "bot"\n[model.b]\nfrom = "x"\nname = "Bot"\ntag = "Latest"\n', {}),
    "name-clash-rows": (R + 'tag = "t"\nsystem = "${matrix.x}"\nmatrix = { quantize = ["q8_0", "f16"], x = ["a", "b"] }\n', {}),
    "template-fault": (R + 'template = "{{ .Prompt }"\n', {}),
    "template-fault-in-lines": (R + 'template = """\n{{ if .System }}\n{{ .System }}"""\n', {}),
    "template-fault-in-a-file": (R + 'template = { file = "t.gotmpl" }\n', {"t.gotmpl": "{{ if .System }}\n{{ fi }}\n"}),
    "template-unknown-values": (R + 'template = "{{ .Sytem }}{{ .Prompt }}"\n', {}),
    "template-unknown-values-in-a-file": (R + 'template = { file = "t" }\n', {"t": "{{ .Prompt }}\n{{ .Role }}\n"}),
    "stop-list": (R + "parameters = { stop = '[\"a\", \"b\"]', top_p = 3 }\n", {}),
    "name-with-tag": ('[model.a]\nfrom = "x"\nname = "acme/bot:v1"\n', {}),
    "name-bad": ('[model.a]\nfrom = "x"\nname = "a/b/c/d"\n', {}),
    "name-namespace": ('[project]\nnamespace = "a.b"\n[model.a]\nfrom = "x"\n', {}),
    "name-reserved": ('[model.a]\nfrom = "x"\ntag = "local"\n', {}),
    "value-filled-ftype": (R + 'quantize = "${q}"\n[vars]\nq = "q4_k_n"\n', {}),
    "value-filled-parameter": (R + 'parameters = { num_ctx = "${q}" }\n[vars]\nq = "many"\n', {}),
    "value-filled-scale": (R + 'adapters = [{ path = "a", scale = "${q}" }]\n[vars]\nq = 0.0\n', {}),
    "value-filled-role": (R + 'messages = [{ role = "${q}", content = "x" }]\n[vars]\nq = "bot"\n', {}),
    "value-filled-template": (R + 'template = "${q}"\n[vars]\nq = true\n', {}),
    "value-filled-message": (R + 'messages = [{ role = "user", content = "${q}" }]\n[vars]\nq = true\n', {}),
    "value-path-nul": (R + 'draft = "a\\u0000b"\n', {}),
    "var-circle": ('[vars]\na = "${b}"\nb = "x${c}"\nc = "${a}"\n', {}),
    "var-laughs": (
        '[model.m]\nfrom = "${l9}"\n[vars]\nl0 = "lol"\n'
        + "".join(f'l{n} = "{f"${{l{n - 1}}}" * 10}"\n' for n in range(1, 10)),
        {},
    ),
    "group-circle": ('[model.m]\nfrom = "x"\n[group]\na = ["b"]\nb = ["c", "m"]\nc = ["a"]\n', {}),
    "group-unknown": ('[model.chat]\nfrom = "x"\n[group]\na = ["chat", "chatt"]\n', {}),
    "group-glob": ('[model.chat]\nfrom = "x"\n[group]\na = ["persona-*"]\n', {}),
    "default-unknown": ('[project]\ndefault = ["chta"]\n[model.chat]\nfrom = "x"\n', {}),
    "glob-unmatched": ('[model.chat]\nfrom = "x"\n[model."cht-*"]\nsystem = "x"\n', {}),
    "no-models": ("", {}),
    "modelfile-warning": (
        '[model.chat]\nmodelfile = "Modelfile.x"\n',
        {"Modelfile.x": FROM + "PARAMETER mirostat 1\n"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDENS)
def test_complaint_is_the_golden_one(case: str, tmp_path: Path) -> None:
    toml, files = GOLDENS[case]
    check_golden(case, complaint(tmp_path, toml, files))


@pytest.mark.parametrize(
    ("case", "files", "options"),
    [
        ("alone-missing", {}, {}),
        ("alone-bad-name", {"a b/Modelfile": FROM}, {"file": "a b/Modelfile"}),
        ("alone-bad-t", {"a/Modelfile": FROM}, {"file": "a/Modelfile", "name": "a b:c"}),
        ("alone-bad-q", {"a/Modelfile": FROM}, {"file": "a/Modelfile", "quantize": "q4_k_n"}),
        ("alone-broken", {"a/Modelfile": "x"}, {"file": "a/Modelfile"}),
        ("toml-not-utf8", {"ModelBuild.toml": b"# \xff\n"}, {}),
        ("toml-folder", {"ModelBuild.toml/": ""}, {}),
    ],
)
def test_files_that_cannot_be_a_project(
    case: str, files: dict[str, str | bytes], options: dict[str, object], tmp_path: Path
) -> None:
    check_golden(case, complaint(tmp_path, None, files, **options))


def test_goldens_and_cases_agree() -> None:
    single = {"target-unknown", "var-environment-type", "discover-unreadable", "toml-not-utf8", "toml-folder"}
    single |= {"fetching", *(f"lock_{case}" for case in WRONG)}
    single |= {"alone-missing", "alone-bad-name", "alone-bad-t", "alone-bad-q", "alone-broken"}
    single |= {"parts-one-name", "parts-extends", "parts-of-one-name", "parts-without-effect", "parts-globs"}
    single |= {"parts-groups", *(f"part-{case}" for case in BROKEN)}
    assert {path.stem for path in GOLDEN.iterdir()} == {*CASES, *GOLDENS, *OPTIONS, *UNUSED, *single}

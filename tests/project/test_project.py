"""ModelBuild.toml as DESIGN states it: discovery, layers, rows, names, targets; and a golden for every rule of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from modelbuild.errors import Error, Errors
from modelbuild.observed import Observed
from modelbuild.project import discovery
from tests.project.test_schema import check_golden
from tests.projects import Kept, complaint, labels, load, names, write

FROM = "FROM ./weights\n"


# Finding the project


def test_find_goes_up_to_the_next_toml(tmp_path: Path) -> None:
    write(tmp_path, {"ModelBuild.toml": "", "a/ModelBuild.toml": "", "a/b/c/Modelfile": FROM})
    assert discovery.find(str(tmp_path / "a/b/c")) == str(tmp_path / "a/ModelBuild.toml")


def test_find_stops_at_a_git_folder(tmp_path: Path) -> None:
    write(tmp_path, {"ModelBuild.toml": "", "a/.git/": "", "a/b/": ""})
    assert discovery.find(str(tmp_path / "a/b")) is None


def test_find_looks_into_the_folder_that_holds_git(tmp_path: Path) -> None:
    write(tmp_path, {"a/ModelBuild.toml": "", "a/.git": "gitdir: elsewhere", "a/b/": ""})
    assert discovery.find(str(tmp_path / "a/b")) == str(tmp_path / "a/ModelBuild.toml")


def test_find_falls_back_to_the_folders_own_modelfile(tmp_path: Path) -> None:
    write(tmp_path, {".git/": "", "a/Modelfile": FROM, "a/b/": ""})
    assert discovery.find(str(tmp_path / "a")) == str(tmp_path / "a/Modelfile")
    assert discovery.find(str(tmp_path / "a/b")) is None


# A project of one Modelfile


def test_a_modelfile_alone_is_a_project_named_after_its_folder(tmp_path: Path) -> None:
    loaded = load(tmp_path, files={"chat/Modelfile": FROM}, file="chat/Modelfile")
    assert names(loaded) == [["chat:latest"]]
    assert loaded.root == str(tmp_path / "chat")
    assert loaded.models is None


def test_a_named_modelfile_gives_its_name(tmp_path: Path) -> None:
    loaded = load(tmp_path, files={"x.Modelfile": FROM, "Modelfile.y": FROM}, file="x.Modelfile")
    assert names(loaded) == [["x:latest"]]
    assert names(load(tmp_path, file="Modelfile.y")) == [["y:latest"]]


@pytest.mark.parametrize(
    ("option", "name"),
    [("me/bot:v2", "me/bot:v2"), ("bot", "bot:latest"), ("host:5000/a/bot", "host:5000/a/bot:latest")],
)
def test_t_names_and_q_quantizes_a_modelfile(tmp_path: Path, option: str, name: str) -> None:
    loaded = load(tmp_path, files={"a b/Modelfile": FROM}, file="a b/Modelfile", name=option, quantize="Q4_K")
    assert names(loaded) == [[name]]
    assert loaded.variants[0].quantize == "q4_K_M"
    assert not loaded.variants[0].quantize_from_defaults


def test_set_works_on_a_modelfile(tmp_path: Path) -> None:
    loaded = load(tmp_path, files={"a/Modelfile": FROM}, file="a/Modelfile", sets=("a.parameters.top_k=3",))
    assert loaded.variants[0].parameters == {"top_k": 3}


def test_a_byte_order_mark_counts_for_nothing(tmp_path: Path) -> None:
    loaded = load(tmp_path, '\ufeff[model.a]\r\nfrom = "./w"\r\n')
    assert labels(loaded) == ["a"]


# Discovery


def found(tmp_path: Path, toml: str = "", **files: str) -> dict[str, str]:
    named = {name.replace("__", "/").replace("_Modelfile", ".Modelfile"): text for name, text in files.items()}
    loaded = load(tmp_path, toml, named)
    return {each.model: each.place("from").file for each in loaded.variants}


def test_by_default_the_modelfile_beside_the_toml_is_found(tmp_path: Path) -> None:
    root = tmp_path / "chat"
    loaded = load(root, "", {"ModelBuild.toml": "", "Modelfile": FROM, "sub/Modelfile": FROM})
    assert names(loaded) == [["chat:latest"]]


def test_models_are_named_after_their_modelfiles(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        '[project]\nmodelfiles = ["models/**/Modelfile", "models/*.Modelfile", "models/Modelfile.*"]\n',
        {"models/a/Modelfile": FROM, "models/deep/er/b/Modelfile": FROM, "models/c.Modelfile": FROM}
        | {"models/Modelfile.d": FROM, "models/README": "", "other/Modelfile": FROM},
    )
    assert labels(loaded) == ["d", "a", "c", "b"]


def test_double_star_matches_no_folder_too(tmp_path: Path) -> None:
    files = {"models/Modelfile": FROM, "models/a/Modelfile": FROM}
    assert labels(load(tmp_path, '[project]\nmodelfiles = ["models/**/Modelfile"]', files)) == ["models", "a"]


def test_discovery_passes_over_links_dot_folders_the_models_folder_and_other_projects(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        '[project]\nmodelfiles = ["**/Modelfile", "*/*.Modelfile", "[xl]/Modelfile"]\nmodels = "out/models"\n',
        {
            "a/Modelfile": FROM,
            "elsewhere/.hidden/b/Modelfile": FROM,
            "out/models/c/Modelfile": FROM,
            "nested/ModelBuild.toml": "",
            "nested/Modelfile": FROM,
            "nested/d/Modelfile": FROM,
            "l": "-> a",
            "e/Modelfile": "-> ../a/Modelfile",
            "e/f.Modelfile": "-> ../a/Modelfile",
        },
    )
    assert labels(loaded) == ["a"]


def test_a_spelled_out_path_is_followed(tmp_path: Path) -> None:
    files = {"real/a/Modelfile": FROM, "l": "-> real", ".dot/b/Modelfile": FROM, "real/c/Modelfile": FROM}
    loaded = load(tmp_path, '[project]\nmodelfiles = ["l/a/Modelfile", ".dot/b/Modelfile"]', files)
    assert labels(loaded) == ["b", "a"]


def test_a_link_that_goes_round_ends(tmp_path: Path) -> None:
    files = {"a/Modelfile": FROM, "a/b/up": "-> ../.."}
    assert labels(load(tmp_path, '[project]\nmodelfiles = ["**/Modelfile"]', files)) == ["a"]


def test_many_double_stars_find_each_file_once(tmp_path: Path) -> None:
    deep = "/".join("abcdefghijklmnop")
    loaded = load(tmp_path, f'[project]\nmodelfiles = ["{"**/" * 12}Modelfile"]', {f"{deep}/Modelfile": FROM})
    assert labels(loaded) == ["p"]


def test_a_modelfile_that_a_table_names_is_not_found_again(tmp_path: Path) -> None:
    toml = (
        '[project]\nmodelfiles = ["**/Modelfile"]\n[model.bot]\nmodelfile = "a/Modelfile"\n'
        '[model.rows.matrix]\nmodelfile = { b = "b/Modelfile", c = "./${c}/Modelfile" }\n[vars]\nc = "c"\n'
    )
    loaded = load(tmp_path, toml, {f"{x}/Modelfile": FROM + f"SYSTEM {x}\n" for x in "abcd"})
    assert labels(loaded) == ["bot", "rows:b", "rows:c", "d"]
    assert [variant.system for variant in loaded.variants] == ["a", "b", "c", "d"]


def test_a_table_of_a_found_models_name_refines_it(tmp_path: Path) -> None:
    toml = '[project]\nmodelfiles = ["*/Modelfile"]\n[model.a]\nsystem = "new"\n'
    loaded = load(tmp_path, toml, {"a/Modelfile": FROM + "SYSTEM old\n"})
    assert [(each.label, each.system) for each in loaded.variants] == [("a", "new")]


def test_discover_as_tells_modelfiles_apart(tmp_path: Path) -> None:
    toml = '[project]\nmodelfiles = ["**/Modelfile", "**/*.Modelfile"]\ndiscover_as = "{parent}-{name}"\n'
    loaded = load(tmp_path, toml, {"x/a/Modelfile": FROM, "y/a/Modelfile": FROM, "y/z/b.Modelfile": FROM})
    assert labels(loaded) == ["x-a", "y-a", "y-b"]


# Rows


R = '[model.m]\nfrom = "./x"\n'


def test_rows_are_the_product_of_the_axes(tmp_path: Path) -> None:
    loaded = load(tmp_path, R + 'matrix.quantize = ["Q8_0", "q4_k"]\nmatrix.tone = { a = "AA", b = "BB" }\n')
    assert names(loaded) == [["m:q8_0-a"], ["m:q8_0-b"], ["m:q4_K_M-a"], ["m:q4_K_M-b"]]
    assert [each.quantize for each in loaded.variants] == ["q8_0", "q8_0", "q4_K_M", "q4_K_M"]
    assert loaded.variants[1].row == (("quantize", "q8_0"), ("tone", "b"))
    assert labels(loaded) == ["m:q8_0-a", "m:q8_0-b", "m:q4_K_M-a", "m:q4_K_M-b"]


def test_an_axis_over_a_key_sets_it(tmp_path: Path) -> None:
    toml = R + (
        'system = "old"\nparameters = { seed = 1 }\nmatrix.system = { a = "A", f = { file = "f" } }\n'
        "matrix.parameters = { hot = { temperature = 1 }, cold = { temperature = 0.1, seed = 2 } }\n"
    )
    loaded = load(tmp_path, toml, {"f": "F"})
    assert [(each.label, each.system, dict(each.parameters)) for each in loaded.variants] == [
        ("m:a-hot", "A", {"seed": 1, "temperature": 1.0}),
        ("m:a-cold", "A", {"seed": 2, "temperature": 0.1}),
        ("m:f-hot", "F", {"seed": 1, "temperature": 1.0}),
        ("m:f-cold", "F", {"seed": 2, "temperature": 0.1}),
    ]


def test_labels_and_values_stand_in_strings(tmp_path: Path) -> None:
    toml = R.replace("./x", "${matrix.base.value}") + (
        'name = "acme/${matrix.base}-x"\ntag = "${matrix.quantize}"\nsystem = "I am ${matrix.base} in $${matrix.base}"\n'
        'parameters = { num_ctx = "${matrix.ctx.value}", seed = "${matrix.n}" }\n'
        'matrix = { base = { s = "./base/1b", l = "./base/8b" }, quantize = ["q8_0"], ctx = { k = 4096 }, n = [7] }\n'
    )
    loaded = load(tmp_path, toml)
    assert names(loaded) == [["acme/s-x:q8_0"], ["acme/l-x:q8_0"]]
    assert [each.froms[0].text for each in loaded.variants] == ["./base/1b", "./base/8b"]
    assert loaded.variants[0].system == "I am s in ${matrix.base}"
    assert loaded.variants[0].parameters == {"num_ctx": 4096, "seed": 7}
    assert labels(loaded) == ["m:s-q8_0-k-7", "m:l-q8_0-k-7"]


def test_exclude_drops_rows(tmp_path: Path) -> None:
    toml = R + 'matrix = { quantize = ["q8_0", "f16"], t = ["a", "b", "c"] }\n'
    toml += '[[model.m.exclude]]\nquantize = "Q8_0"\nt = ["a", "b"]\n[[model.m.exclude]]\nt = "c"\n'
    assert labels(load(tmp_path, toml)) == ["m:f16-a", "m:f16-b"]


def test_include_adds_keys_to_rows_that_match_and_rows_that_do_not(tmp_path: Path) -> None:
    toml = R + 'matrix = { quantize = ["q8_0"], t = ["a", "b"] }\n'
    toml += '[[model.m.include]]\nt = "b"\nsystem = "for b"\nparameters = { seed = 1 }\n'
    toml += '[[model.m.include]]\nquantize = "f16"\nt = "c"\ntag = "extra"\n'
    toml += "[[model.m.include]]\nparameters = { top_k = 2 }\n"
    loaded = load(tmp_path, toml)
    assert [(each.label, each.system, each.quantize, dict(each.parameters)) for each in loaded.variants] == [
        ("m:q8_0-a", None, "q8_0", {"top_k": 2}),
        ("m:q8_0-b", "for b", "q8_0", {"seed": 1, "top_k": 2}),
        ("m:extra", None, "f16", {"top_k": 2}),
    ]


def test_an_included_row_can_be_the_default(tmp_path: Path) -> None:
    toml = R + 'matrix = { quantize = ["q8_0"] }\ninclude = [{ quantize = "f16" }]\ndefault.quantize = "f16"\n'
    assert names(load(tmp_path, toml)) == [["m:q8_0"], ["m:f16", "m:latest"]]


def test_the_default_row_gets_latest_and_tags(tmp_path: Path) -> None:
    toml = (
        R
        + 'tags = ["v1", "v${x}", "latest"]\nmatrix.quantize = ["q8_0", "q4_K_M"]\ndefault.quantize = "Q4_K"\n[vars]\nx = 2\n'
    )
    loaded = load(tmp_path, toml)
    assert names(loaded) == [["m:q8_0"], ["m:q4_K_M", "m:latest", "m:v1", "m:v2"]]
    assert [each.is_default for each in loaded.variants] == [False, True]


def test_without_a_matrix_the_tag_is_latest(tmp_path: Path) -> None:
    assert names(load(tmp_path, R + 'tags = ["v1"]\n')) == [["m:latest", "m:v1"]]
    assert names(load(tmp_path, R + 'tag = "v2"\ntags = ["v1"]\n')) == [["m:v2", "m:v1"]]


def test_the_namespace_is_for_names_that_have_none(tmp_path: Path) -> None:
    toml = '[project]\nnamespace = "acme"\n[model.a]\nfrom = "x"\n[model."me/b"]\nfrom = "x"\n'
    toml += '[model.c]\nfrom = "x"\nname = "reg.io/you/c"\n'
    assert names(load(tmp_path, toml)) == [["acme/a:latest"], ["me/b:latest"], ["reg.io/you/c:latest"]]


def test_a_glob_table_can_bring_a_matrix(tmp_path: Path) -> None:
    toml = '[model."*"]\nmatrix.quantize = ["q8_0", "f16"]\n[model.a]\nfrom = "x"\n[model.b]\nfrom = "y"\n'
    assert labels(load(tmp_path, toml)) == ["a:q8_0", "a:f16", "b:q8_0", "b:f16"]


# Variables


def test_variables_fill_any_string_and_keep_their_type(tmp_path: Path) -> None:
    toml = (
        '[project]\nmodels = "${out}/models"\nnamespace = "${who}"\n[model.m]\nfrom = "${base}"\nname = "m${n}"\n'
        'template = "${off}"\nparameters = { num_ctx = "${n}", temperature = "${t}", use_mmap = "${on}", stop = ["<${n}>"] }\n'
        '[vars]\nout = "${who}/out"\nwho = "me"\nbase = "./b"\nn = 8\nt = 0.5\non = true\noff = false\n'
    )
    loaded = load(tmp_path, toml)
    made = loaded.variants[0]
    assert loaded.models == str(tmp_path / "me/out/models")
    assert [name.display() for name in made.names] == ["me/m8:latest"]
    assert made.parameters == {"num_ctx": 8, "temperature": 0.5, "use_mmap": True, "stop": ["<8>"]}
    assert "template" in made.cleared
    assert made.froms[0].text == "./b"


def test_the_environment_overrides_a_variable_and_the_command_line_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = (
        R
        + 'parameters = { num_ctx = "${ctx}", seed = "${seed}" }\nsystem = "${s}"\n[vars]\nctx = 1\nseed = 1\ns = "a"\n'
    )
    monkeypatch.setenv("MODELBUILD_VAR_ctx", "2")
    monkeypatch.setenv("MODELBUILD_VAR_s", "${ctx}")
    observed = Observed()
    made = load(tmp_path, toml, observed=observed, vars={"ctx": "3"}).variants[0]
    assert made.parameters == {"num_ctx": 3, "seed": 1}
    assert made.system == "${ctx}"
    assert load(tmp_path, toml).variants[0].parameters["num_ctx"] == 2
    looked_at = {subject for verb, subject, *_ in observed.looks() if verb == "env"}
    assert looked_at == {"MODELBUILD_VAR_ctx", "MODELBUILD_VAR_seed", "MODELBUILD_VAR_s"}


@pytest.mark.parametrize(("raw", "value"), [("true", True), ("False", False), ("1", True), ("0", False)])
def test_a_boolean_variable_reads_words(tmp_path: Path, raw: str, value: bool) -> None:
    toml = R + 'parameters = { use_mmap = "${on}" }\n[vars]\non = true\n'
    assert load(tmp_path, toml, vars={"on": raw}).variants[0].parameters == {"use_mmap": value}


# --set


@pytest.mark.parametrize(
    ("option", "check"),
    [
        ("m.quantize=q8_0", lambda v: v.quantize == "q8_0"),
        ("*.quantize='q8_0'", lambda v: v.quantize == "q8_0"),
        ("m.tag=2", lambda v: v.names[0].tag == "2"),
        ("m.system=", lambda v: "system" in v.cleared),
        ("m.system=a = b", lambda v: v.system == "a = b"),
        ("m.parameters={ seed = 3 }", lambda v: v.parameters == {"top_k": 1, "seed": 3}),
        ("m.parameters.stop=x", lambda v: v.parameters == {"top_k": 1, "stop": ["x"]}),
        ("m.requires=0.14", lambda v: v.requires == "0.14"),
        ("m.template=false", lambda v: "template" in v.cleared),
        ("m.system=${x}", lambda v: v.system == "X"),
        ('m.tags=["a"]', lambda v: [name.tag for name in v.names] == ["latest", "a"]),
    ],
)
def test_set_overrides_a_key(tmp_path: Path, option: str, check: object) -> None:
    toml = R + 'quantize = "f16"\nsystem = "s"\nparameters = { top_k = 1 }\n[vars]\nx = "X"\n'
    assert check(load(tmp_path, toml, sets=(option,)).variants[0])  # type: ignore[operator]


def test_set_reaches_models_whose_names_hold_dots(tmp_path: Path) -> None:
    loaded = load(tmp_path, '[model."llama3.2"]\nfrom = "x"\n', sets=("llama3.2.parameters.seed=1",))
    assert loaded.variants[0].parameters == {"seed": 1}


def test_set_can_replace_an_axis(tmp_path: Path) -> None:
    toml = R + 'matrix.quantize = ["q8_0", "f16"]\n'
    assert labels(load(tmp_path, toml, sets=('m.matrix.quantize=["q6_K"]',))) == ["m:q6_K"]


# Keeping

DESIGN_LIKE = (
    '[project]\ndefault = ["chat*"]\n[model.chat]\nfrom = "x"\nmatrix.quantize = ["q8_0", "f16"]\n'
    'default.quantize = "f16"\n[model.other]\nextends = "chat"\n[group]\nall = ["chat", "other"]\n'
)


def test_a_kept_text_needs_no_pydantic_and_no_tomllib(tmp_path: Path) -> None:
    import subprocess

    write(tmp_path, {"ModelBuild.toml": DESIGN_LIKE})
    script = (
        "import sys, os, pickle\n"
        "from modelbuild.project import loader\n"
        "from modelbuild.observed import Observed\n"
        "class Kept(dict):\n"
        "    def put(self, key, value): self[key] = value\n"
        "path = sys.argv[1] + '/kept'\n"
        "kept = Kept(pickle.load(open(path, 'rb')) if os.path.exists(path) else {})\n"
        "loaded = loader.load(sys.argv[1] + '/ModelBuild.toml', observed=Observed(), keep=kept)\n"
        "pickle.dump(dict(kept), open(path, 'wb'))\n"
        "heavy = {'pydantic', 'tomllib', 'numpy', 'gguf', 'rich', 'tomli_w'} & set(sys.modules)\n"
        "print(sorted(heavy), [each.label for each in loaded.variants])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    first, second = (
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition("]") for _ in range(2)
    )
    assert first[0] == "['pydantic', 'tomllib'"
    assert second[0] == "["
    assert first[2] == second[2]


def test_kept_and_fresh_projects_are_equal(tmp_path: Path) -> None:
    keep = Kept()
    toml = DESIGN_LIKE + '[model.m]\nfrom = "y"\nsystem = "${x}"\n[vars]\nx = "é\\u2028"\n'
    fresh = load(tmp_path, toml, keep=keep, sets=("m.tags=['t']",))
    assert len([key for key in keep if key.startswith("project:")]) == 1
    again = load(tmp_path, toml, keep=keep, sets=("m.tags=['t']",))
    assert again == fresh
    assert again.variants[0].place("from") == fresh.variants[0].place("from")


def test_a_text_with_errors_is_not_kept(tmp_path: Path) -> None:
    keep = Kept()
    with pytest.raises(Errors):
        load(tmp_path, '[model.m]\nfrom = "x"\nquantize = "q9"\n', keep=keep)
    assert not any(key.startswith("project:") for key in keep)


def test_no_file_is_read_twice(tmp_path: Path) -> None:
    class Counting(Observed):
        def __init__(self) -> None:
            super().__init__()
            self.counts: dict[str, int] = {}

        def read(self, path: str) -> bytes:
            self.counts[os.path.relpath(path, tmp_path)] = self.counts.get(os.path.relpath(path, tmp_path), 0) + 1
            return super().read(path)

    observed = Counting()
    toml = (
        '[project]\nmodelfiles = ["a/Modelfile"]\n[defaults]\nlicense = { file = "L" }\n'
        '[model.b]\nextends = "a"\nmatrix.quantize = ["q8_0", "f16"]\n[model.c]\nmodelfile = "c/Modelfile"\n'
        '[model.d]\nmodelfile = "c/../c/Modelfile"\n'
    )
    load(tmp_path, toml, {"L": "MIT", "a/Modelfile": FROM, "c/Modelfile": FROM}, observed=observed)
    assert observed.counts == {"ModelBuild.toml": 1, "L": 1, "a/Modelfile": 1, "c/Modelfile": 1}


# Goldens: what only shows when a project is expanded

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
    "extends-circle": (
        '[model.a]\nfrom = "x"\nextends = "b"\n[model.b]\nextends = "c"\n[model.c]\nextends = "a"\n',
        {},
    ),
    "extends-same-name": ('[model.a]\nfrom = "x"\nname = "n"\n[model.b]\nextends = "a"\n', {}),
    "matrix-unknown-axis": (R + 'matrix.quantize = ["q8_0"]\nexclude = [{ quantise = "q8_0" }]\n', {}),
    "matrix-unknown-label": (R + 'matrix.quantize = ["q8_0"]\nexclude = [{ quantize = "q8_1" }]\n', {}),
    "matrix-unknown-default": (R + 'matrix.tone = { kind = "a", terse = "b" }\ndefault.tone = "ters"\n', {}),
    "matrix-default-many": (R + 'matrix = { a = ["x"], b = ["y", "z"] }\ndefault.a = "x"\n', {}),
    "matrix-default-none": (
        R + 'matrix = { a = ["x", "w"], b = ["y"] }\nexclude = [{ a = "x" }]\ndefault.a = "x"\n',
        {},
    ),
    "matrix-empty": (R + 'matrix.a = ["x"]\nexclude = [{ a = "x" }]\n', {}),
    "matrix-twice": (R + 'matrix.quantize = ["q4_K", "Q4_K_M"]\n', {}),
    "matrix-ftype": (R + 'matrix.quantize = ["q8_0", "q4_k_n"]\n', {}),
    "matrix-axis-name": (R + 'matrix = { "a b" = ["x"], extends = ["y"] }\n', {}),
    "matrix-huge": (R + "matrix = { " + ", ".join(f"a{n} = [{', '.join(map(str, range(99)))}]" for n in range(9)) + " }\n", {}),
    "matrix-include-new-label": (R + 'matrix.t = { a = "./a" }\ninclude = [{ t = "b" }]\n', {}),
    "matrix-include-partial": (R + 'matrix = { t = ["a"], u = ["b"] }\ninclude = [{ t = "c" }]\n', {}),
    "matrix-include-table": (R + 'matrix.t = ["a"]\ninclude = [{ t = { x = 1 } }]\n', {}),
    "matrix-missing": (R + 'include = [{ quantize = "q8_0" }]\nexclude = [{ a = "b" }]\ndefault.a = "b"\n', {}),
    "matrix-bad-tag": (R + 'matrix.base = ["./base/1b", "./base/3b"]\n', {}),
    "matrix-no-such-reference": (R + 'system = "${matrix.bas}"\nmatrix.base = ["a"]\n', {}),
    "matrix-no-matrix": (R + 'system = "${matrix.base}"\n', {}),
    "matrix-table-reference": (R + 'system = "${matrix.parameters.value}"\nmatrix.parameters = { a = { seed = 1 } }\n', {}),
    "matrix-same-labels": (R + 'name = "${matrix.a}_${matrix.b}"\ntag = "t"\nmatrix = { a = ["x", "x-y"], b = ["z", "y-z"] }\n', {}),
    "tags-without-default": (R + 'tags = ["v1"]\nmatrix.quantize = ["q8_0", "f16"]\n', {}),
    "tags-bad": (R + 'tags = ["v 1"]\ntag = "./x"\n', {}),
    "name-clash": ('[model.a]\nfrom = "x"\nname = "bot"\n[model.b]\nfrom = "x"\nname = "Bot"\ntag = "Latest"\n', {}),
    "name-clash-rows": (R + 'tag = "t"\nmatrix = { quantize = ["q8_0", "f16"], x = ["a", "b"] }\n', {}),
    "name-with-tag": ('[model.a]\nfrom = "x"\nname = "acme/bot:v1"\n', {}),
    "name-bad": ('[model.a]\nfrom = "x"\nname = "a/b/c/d"\n', {}),
    "name-namespace": ('[project]\nnamespace = "a.b"\n[model.a]\nfrom = "x"\n', {}),
    "name-reserved": ('[model.a]\nfrom = "x"\ntag = "local"\n', {}),
    "value-filled-ftype": (R + 'quantize = "${q}"\n[vars]\nq = "q4_k_n"\n', {}),
    "value-filled-parameter": (R + 'parameters = { num_ctx = "${q}" }\n[vars]\nq = "many"\n', {}),
    "value-filled-merge": (R + 'adapter_mode = "${q}"\n[vars]\nq = "merge"\n', {}),
    "value-filled-scale": (R + 'adapters = [{ path = "a", scale = "${q}" }]\n[vars]\nq = 0.5\n', {}),
    "value-filled-role": (R + 'messages = [{ role = "${q}", content = "x" }]\n[vars]\nq = "bot"\n', {}),
    "value-filled-template": (R + 'template = "${q}"\n[vars]\nq = true\n', {}),
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


OPTIONS: dict[str, dict[str, object]] = {
    "set-no-key": {"sets": ("m=5",)},
    "set-no-value": {"sets": ("m.system",)},
    "set-unknown-key": {"sets": ("m.sytem=x",)},
    "set-unknown-model": {"sets": ("n.system=x", "n*.system=x")},
    "set-bad-type": {"sets": ("m.parameters=x", "m.template=true", "m.parameters.seed=often")},
    "set-bad-value": {"sets": ("m.quantize=q9",)},
    "set-extends": {"sets": ("m.extends=m",)},
    "set-axis": {"sets": ("r.quantize=q8_0",)},
    "set-unknown-variable": {"sets": ("m.system=${y}",)},
    "var-option-unknown": {"vars": {"y": "1"}},
    "var-option-type": {"vars": {"x": "many"}},
    "t-for-a-toml": {"name": "x"},
    "q-for-a-toml": {"quantize": "q8_0"},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_of_the_command_line_are_checked(case: str, tmp_path: Path) -> None:
    toml = R + '[model.r]\nfrom = "x"\nmatrix.quantize = ["q8_0"]\n[vars]\nx = 1\n'
    check_golden(case, complaint(tmp_path, toml, **OPTIONS[case]))


def test_an_environment_variable_of_the_wrong_type_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELBUILD_VAR_x", "inf")
    check_golden("var-environment-type", complaint(tmp_path, "[vars]\nx = 0.5\n"))


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


def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    class Refusing(Observed):
        def entries(self, path: str):  # type: ignore[no-untyped-def]
            if path.endswith("secret"):
                raise PermissionError(13, "Permission denied", path)
            return super().entries(path)

    toml = '[project]\nmodelfiles = ["**/Modelfile"]\n'
    with pytest.raises(Errors) as caught:
        load(tmp_path, toml, {"secret/a": "", "b/Modelfile": FROM}, observed=Refusing())
    check_golden("discover-unreadable", f"{caught.value}\n")


def test_goldens_and_cases_agree() -> None:
    from tests.project.test_schema import CASES, GOLDEN

    single = {"target-unknown", "var-environment-type", "discover-unreadable", "toml-not-utf8", "toml-folder"}
    single |= {"alone-missing", "alone-bad-name", "alone-bad-t", "alone-bad-q", "alone-broken"}
    assert {path.stem for path in GOLDEN.iterdir()} == {*CASES, *GOLDENS, *OPTIONS, *single}


def test_an_error_is_an_error_whatever_comes_first(tmp_path: Path) -> None:
    with pytest.raises((Error, Errors)):
        load(tmp_path, "[model.m]\n")

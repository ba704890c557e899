"""What tables and a Modelfile say of one row together, and what the row is called."""

from __future__ import annotations

from pathlib import Path

from tests.projects import FROM, M, R, load, names, one, write


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


def test_toml_lies_over_the_modelfile(tmp_path: Path) -> None:
    text = FROM + "PARAMETER temperature 0.5\nPARAMETER top_k 5\nPARAMETER stop a\nSYSTEM old\nLICENSE theirs\n"
    toml = M + 'system = "new"\nparameters = { temperature = 0.2, stop = ["b", "c"] }\nlicense = "ours"\n'
    made = one(tmp_path, toml, text)
    assert made.parameters == {"temperature": 0.2, "top_k": 5, "stop": ["b", "c"]}
    assert made.system == "new"
    assert (made.licenses, made.replaces_licenses) == (("ours",), True)


def test_the_modelfile_lies_over_defaults(tmp_path: Path) -> None:
    text = FROM + "PARAMETER temperature 0.5\nSYSTEM own\nLICENSE theirs\nMESSAGE user hi\n"
    defaults = (
        '[defaults]\nsystem = "d"\ntemplate = "t"\nlicense = "ours"\nparameters = { temperature = 1, top_k = 2 }\n'
        'messages = [{ role = "user", content = "d" }]\n'
    )
    made = one(tmp_path, defaults + M, text)
    assert made.parameters == {"temperature": 0.5, "top_k": 2}
    assert (made.system, made.template) == ("own", "t")
    assert (made.licenses, made.replaces_licenses) == (("theirs",), False)
    assert made.messages == (("user", "hi"),)


def test_empty_values_clear(tmp_path: Path) -> None:
    text = FROM + "SYSTEM s\nTEMPLATE t\nPARAMETER stop a\nPARAMETER seed 1\nLICENSE l\nMESSAGE user hi\nADAPTER ./a\n"
    toml = M + (
        'system = ""\ntemplate = false\nparameters = { stop = [], seed = "", top_k = "" }\nlicense = ""\nmessages = []\n'
        'adapters = []\nrenderer = ""\nparser = ""\nrequires = ""\n'
    )
    made = one(tmp_path, toml, text)
    assert (made.system, made.template, made.parameters, made.licenses) == (None, None, {}, ())
    assert (made.messages, made.adapters) == ((), ())
    assert made.cleared_parameters == {"stop", "seed", "top_k"}
    assert made.replaces_licenses
    expected = {"system", "template", "license", "messages", "adapters", "renderer", "parser", "requires"}
    assert made.cleared == expected


def test_nothing_said_clears_nothing(tmp_path: Path) -> None:
    made = one(tmp_path, M)
    assert made.cleared == frozenset()
    assert made.cleared_parameters == frozenset()
    assert (made.system, made.template, made.messages, made.licenses) == (None, None, None, ())
    assert not made.replaces_licenses


def test_toml_from_replaces_the_modelfiles(tmp_path: Path) -> None:
    made = one(tmp_path, M + 'from = "./other"\n', "FROM ./a\nFROM ./b\n")
    assert [(each.text, each.in_toml, each.folder) for each in made.froms] == [("./other", True, str(tmp_path))]
    made = one(tmp_path, M, "FROM ./a\nFROM ./b\n")
    folder = str(tmp_path / "m")
    assert [(each.text, each.in_toml, each.folder) for each in made.froms] == [
        ("./a", False, folder), ("./b", False, folder),
    ]  # fmt: skip


def test_adapters_follow_the_modelfiles_own(tmp_path: Path) -> None:
    made = one(
        tmp_path, M + 'adapters = [{ path = "b.gguf", scale = 1 }, { path = "/c.gguf" }]\n', FROM + "ADAPTER a.gguf\n"
    )
    root = str(tmp_path)
    assert [each.path for each in made.adapters] == [f"{root}/m/a.gguf", f"{root}/b.gguf", "/c.gguf"]
    assert {(each.mode, each.scale) for each in made.adapters} == {("layer", 1.0)}
    assert str(made.adapters[1].place) == "ModelBuild.toml:3:15"


def test_files_and_words_are_taken_over(tmp_path: Path) -> None:
    toml = M + (
        'draft = "d.gguf"\nprojector = "p/mm.gguf"\nlink = "hard"\nrenderer = "r"\nparser = "p"\nrequires = "v0.14"\n'
        'description = "what"\nouttype = "BF16"\ntags = ["v1"]\n'
    )
    made = one(tmp_path, toml, FROM + "DRAFT x.gguf\nREQUIRES 0.1.0\n")
    assert [each.path for each in made.drafts] == [str(tmp_path / "d.gguf")]
    assert made.projector is not None and made.projector.path == str(tmp_path / "p/mm.gguf")
    assert (made.link, made.renderer, made.parser, made.requires) == ("hard", "r", "p", "0.14")
    assert (made.description, made.outtype) == ("what", "bf16")
    assert [each.path for each in one(tmp_path, M, FROM + "DRAFT x.gguf\n").drafts] == [str(tmp_path / "m/x.gguf")]


def test_text_keys_take_files(tmp_path: Path) -> None:
    toml = M + (
        'system = { file = "${dir}/s.txt" }\ntemplate = { file = "t" }\nlicense = ["a", { file = "l" }]\n'
        'messages = [{ role = "user", content = { file = "u" } }]\n[vars]\ndir = "texts"\n'
    )
    write(tmp_path, {"texts/s.txt": b"\xef\xbb\xbfs ${not} a variable\r\n", "t": "{{ .Prompt }}\n", "l": "L", "u": "U"})
    made = one(tmp_path, toml)
    assert made.system == "s ${not} a variable\r\n"
    assert made.template == "{{ .Prompt }}\n"
    assert made.licenses == ("a", "L")
    assert made.messages == (("user", "U"),)


def test_quantize_from_defaults_is_told_apart(tmp_path: Path) -> None:
    defaults = '[defaults]\nquantize = "q4_k"\n'
    made = one(tmp_path, defaults + M)
    assert (made.quantize, made.quantize_from_defaults) == ("q4_K_M", True)
    made = one(tmp_path, defaults + M + 'quantize = "Q8_0"\n')
    assert (made.quantize, made.quantize_from_defaults) == ("q8_0", False)
    made = one(tmp_path, defaults + M + 'quantize = "none"\n')
    assert (made.quantize, made.quantize_from_defaults) == (None, False)


def test_an_imatrix_keeps_the_path_as_written(tmp_path: Path) -> None:
    made = one(tmp_path, M + 'quantize = "q4_0"\nimatrix = "./${dir}//x.gguf"\n[vars]\ndir = "cal"\n')
    assert made.imatrix is not None
    assert (made.imatrix.text, made.imatrix.path) == ("./cal//x.gguf", str(tmp_path / "cal/x.gguf"))
    assert str(made.place("imatrix")) == "ModelBuild.toml:4:1"
    assert one(tmp_path, M).imatrix is None


def test_an_imatrix_of_defaults_is_for_the_models_that_quantize(tmp_path: Path) -> None:
    for shared in ("[defaults]", '[model."*"]'):
        toml = shared + '\nimatrix = "x.gguf"\n' + M + '[model.q]\nfrom = "m"\nquantize = "q4_0"\n'
        assert [each.label for each in load(tmp_path, toml, {"m/Modelfile": FROM}).variants] == ["m", "q"]
    cleared = one(tmp_path, '[defaults]\nimatrix = "x.gguf"\n' + M + 'quantize = "q4_0"\nimatrix = ""\n')
    assert cleared.imatrix is None


def test_rows_have_imatrices_of_their_own(tmp_path: Path) -> None:
    toml = M + 'matrix = { quantize = ["none", "q4_0"], imatrix = { plain = "", wiki = "w.gguf" } }\n'
    rows = load(tmp_path, toml, {"m/Modelfile": FROM}).variants
    assert [(each.label, each.imatrix and each.imatrix.text) for each in rows] == [
        ("m:none-plain", None), ("m:none-wiki", "w.gguf"), ("m:q4_0-plain", None), ("m:q4_0-wiki", "w.gguf"),
    ]  # fmt: skip


def test_requantizing_must_be_allowed(tmp_path: Path) -> None:
    asked = [
        one(tmp_path, M), one(tmp_path, M + "allow_requantize = false\n"), one(tmp_path, M + "allow_requantize = true\n"),
        one(tmp_path, "[defaults]\nallow_requantize = true\n" + M),
        one(tmp_path, M + 'allow_requantize = "${yes}"\n[vars]\nyes = true\n'),
    ]  # fmt: skip
    assert [each.allow_requantize for each in asked] == [False, False, True, True, True]
    rows = load(tmp_path, M + "matrix.allow_requantize = [true, false]\n").variants
    assert [(each.label, each.allow_requantize) for each in rows] == [("m:true", True), ("m:false", False)]
    assert load(tmp_path, M, sets=("m.allow_requantize=true",)).variants[0].allow_requantize

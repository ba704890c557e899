"""What TOML and Modelfile say of one variant: layers over layers, texts, files, adapters, and where each was said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.project.locate import recalled
from modelbuild.project.variant import Variant
from modelbuild.tensors import ftypes
from tests.projects import labels, load, names, write

FROM = "FROM ./weights\n"


def one(tmp_path: Path, toml: str, modelfile: str = FROM) -> Variant:
    loaded = load(tmp_path, toml, {"m/Modelfile": modelfile})
    assert len(loaded.variants) == 1
    return loaded.variants[0]


M = '[model.m]\nmodelfile = "m/Modelfile"\n'


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


def test_tables_merge_by_key_from_defaults_to_set(tmp_path: Path) -> None:
    toml = (
        "[defaults]\nparameters = { top_k = 1, top_p = 0.1, min_p = 0.1, seed = 1, num_ctx = 1, num_keep = 1 }\n"
        '[model."*"]\nparameters = { top_p = 0.2, min_p = 0.2, seed = 2, num_ctx = 2, num_keep = 2 }\n'
        '[model."a*"]\nparameters = { min_p = 0.3, seed = 3, num_ctx = 3, num_keep = 3 }\n'
        '[model.base]\nfrom = "x"\nparameters = { seed = 4, num_ctx = 4, num_keep = 4 }\n'
        '[model.abc]\nextends = "base"\nparameters = { num_ctx = 5, num_keep = 5 }\n'
    )
    loaded = load(tmp_path, toml, sets=("a?c.parameters.num_keep=6",))
    assert loaded.select(["abc"])[0].parameters == {
        "top_k": 1, "top_p": 0.2, "min_p": 0.3, "seed": 4, "num_ctx": 5, "num_keep": 6,
    }  # fmt: skip


def test_the_later_of_two_glob_tables_wins(tmp_path: Path) -> None:
    toml = '[model."a*"]\nsystem = "1"\n[model.ab]\nfrom = "x"\n[model."*b"]\nsystem = "2"\n'
    assert load(tmp_path, toml).variants[0].system == "2"


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


@pytest.mark.parametrize("name", ftypes.KNOWN)
def test_every_ftype_can_be_asked_for_in_any_case(tmp_path: Path, name: str) -> None:
    made = one(tmp_path, M + f'quantize = "{name.swapcase()}"\n')
    assert (made.quantize, made.ftype, made.mix) == (name, name, None)


def test_aliases_of_ftypes_are_llama_cpps(tmp_path: Path) -> None:
    toml = M + 'matrix.quantize = ["Q3_K", "q4_k", "Q5_K"]\n'
    assert labels(load(tmp_path, toml, {"m/Modelfile": FROM})) == ["m:q3_K_M", "m:q4_K_M", "m:q5_K_M"]


MIX = r"""
[ftype.mine]
leave_output_tensor = false
token_embedding_type = "${embedding}"
tensors = { 'ffn_.*_exps' = "Q4_K", 'attn_v\.weight$' = "q6_K", 'attn' = "${attention}" }
base = "Q5_K"
pure = "${pure}"
[vars]
embedding = "Q8_0"
attention = "BF16"
pure = true
"""
MINE = {
    "base": "q5_K_M",
    "tensors": [["ffn_.*_exps", "q4_k"], [r"attn_v\.weight$", "q6_k"], ["attn", "bf16"]],
    "pure": True,
    "token_embedding_type": "q8_0",
}


def test_a_mix_is_normalized_and_keeps_the_order_of_its_rules(tmp_path: Path) -> None:
    made = one(tmp_path, M + 'quantize = "mine"\n' + MIX)
    assert (made.quantize, made.ftype) == ("mine", "q5_K_M")
    assert json.dumps(made.mix) == json.dumps(MINE)
    full = MIX.replace("leave_output_tensor = false", 'leave_output_tensor = true\noutput_tensor_type = "F16"')
    assert one(tmp_path, M + 'quantize = "mine"\n' + full).mix == {
        **MINE, "leave_output_tensor": True, "output_tensor_type": "f16",
    }  # fmt: skip


def test_what_a_mix_does_not_say_is_left_out(tmp_path: Path) -> None:
    says = 'base = "q4_0"\npure = false\ntensors = {}\noutput_tensor_type = ""\ntoken_embedding_type = ""\n'
    assert one(tmp_path, f'{M}quantize = "a.b-C"\n[ftype."a.b-C"]\n{says}').mix == {"base": "q4_0"}


def test_a_mix_can_stand_wherever_an_ftype_can(tmp_path: Path) -> None:
    files = {"m/Modelfile": FROM}
    made = one(tmp_path, '[defaults]\nquantize = "mine"\n' + M + MIX)
    assert (made.quantize, made.quantize_from_defaults, made.mix) == ("mine", True, MINE)
    rows = load(tmp_path, M + 'matrix.quantize = ["mine", "q8_0"]\ndefault.quantize = "mine"\n' + MIX, files)
    assert names(rows) == [["m:mine", "m:latest"], ["m:q8_0"]]
    assert [(each.label, each.ftype, each.mix) for each in rows.variants] == [
        ("m:mine", "q5_K_M", MINE),
        ("m:q8_0", "q8_0", None),
    ]
    for option in ("m.quantize=mine", "*.quantize='mine'"):
        assert load(tmp_path, M + MIX, files, sets=(option,)).variants[0].mix == MINE
    included = M + 'matrix.tone = ["a"]\ninclude = [{ tone = "a", quantize = "${type}" }]\n' + MIX + 'type = "mine"\n'
    assert load(tmp_path, included, files).variants[0].ftype == "q5_K_M"


def test_mixes_have_places(tmp_path: Path) -> None:
    made = one(tmp_path, M + 'quantize = "mine"\n' + MIX)
    place = made.mix_table and made.mix_table.at("tensors", r"attn_v\.weight$")
    error = place and place.error("fits no tensor", value=False)
    assert error is not None and (error.place, error.what) == ("ModelBuild.toml:8:37", "ftype 'mine': fits no tensor")
    assert place and str(recalled(place.spelled(str(tmp_path / "ModelBuild.toml")))) == "ModelBuild.toml:8:37"
    assert one(tmp_path, M + 'quantize = "q8_0"\n' + MIX).mix_table is None


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


def test_extends_copies_a_table_and_its_matrix_but_not_its_tags(tmp_path: Path) -> None:
    toml = (
        '[model.a]\nfrom = "./x"\nsystem = "s"\ntags = ["v1"]\nmatrix.quantize = ["q8_0", "f16"]\n'
        'default.quantize = "f16"\nparameters = { seed = 1, top_k = 1 }\n'
        '[model.b]\nextends = "a"\nparameters = { seed = 2 }\n'
    )
    loaded = load(tmp_path, toml)
    assert names(loaded) == [["a:q8_0"], ["a:f16", "a:latest", "a:v1"], ["b:q8_0"], ["b:f16", "b:latest"]]
    assert [dict(each.parameters) for each in loaded.select(["b"])] == [{"seed": 2, "top_k": 1}] * 2
    assert {each.system for each in loaded.variants} == {"s"}


def test_a_model_can_extend_a_found_one(tmp_path: Path) -> None:
    toml = '[project]\nmodelfiles = ["a/Modelfile"]\n[model.b]\nextends = "a"\nparameters = { seed = 2 }\n'
    loaded = load(tmp_path, toml, {"a/Modelfile": FROM + "SYSTEM s\nPARAMETER seed 1\nPARAMETER top_k 1\n"})
    made = loaded.select(["b"])[0]
    assert (made.system, made.parameters) == ("s", {"seed": 2, "top_k": 1})


def test_an_empty_axis_clears_an_inherited_one(tmp_path: Path) -> None:
    toml = (
        '[model.a]\nfrom = "./x"\nmatrix.quantize = ["q8_0", "f16"]\nmatrix.tone = ["x"]\n'
        '[model.b]\nextends = "a"\nmatrix.quantize = []\n'
    )
    assert labels(load(tmp_path, toml), "b") == ["b:x"]


def test_places_are_known(tmp_path: Path) -> None:
    toml = '[defaults]\nquantize = "f16"\n' + M + "parameters = { seed = 1 }\n[model.\"*\"]\nsystem = 'x'\n"
    made = one(tmp_path, toml, FROM + "PARAMETER top_k 1\nLICENSE x\nTEMPLATE t\n")
    places = {
        "quantize": "ModelBuild.toml:2:1",
        "system": "ModelBuild.toml:7:1",
        "modelfile": "ModelBuild.toml:4:1",
        "from": "m/Modelfile:1:1",
        "license": "m/Modelfile:3:1",
        "template": "m/Modelfile:4:1",
        "projector": "ModelBuild.toml:3:8",
    }
    assert {key: str(made.place(key)) for key in places} == places
    assert str(made.place("parameters", "seed")) == "ModelBuild.toml:5:16"
    assert str(made.place("parameters", "top_k")) == "m/Modelfile:2:1"

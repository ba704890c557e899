"""Every rule that a text taken by itself can break, each with its golden."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from modelbuild.project import document, schema
from tests.projects import Kept, check_golden, complaint

MODEL = '[model.chat]\nfrom = "./x"\n'


CASES = {
    # not TOML
    "toml-no-equals": "[model.chat]\nfrom './x'\n",
    "toml-bare-string": "[model.chat]\nfrom = llama3\n",
    "toml-bare-string-in-list": '[model.chat.matrix]\nquantize = ["f16", q8_0]\n',
    "toml-unclosed-string": '[model.chat]\nfrom = "./x\n',
    "toml-unclosed-table": "[model.chat\n",
    "toml-unclosed-list": "[project]\nmodelfiles = [\n  'a',\n",
    "toml-twice": "[model.chat]\nfrom = 'x'\nfrom = 'y'\n",
    "toml-table-twice": "[model.chat]\n[model.chat]\n",
    "toml-escape": '[model.chat]\nfrom = "C:\\models"\n',
    # unknown keys
    "key-top": '[modell.chat]\nfrom = "./x"\n',
    "key-top-model": '[chat]\nfrom = "./x"\n',
    "key-top-project": 'namespace = "acme"\n',
    "key-project": '[project]\nname-space = "acme"\n',
    "key-defaults": '[defaults]\nquantise = "q8_0"\n',
    "key-defaults-of-model": '[defaults]\nfrom = "./x"\n',
    "key-model": '[model.chat]\nform = "./x"\n',
    "key-model-parameter": MODEL + "temperature = 0.5\n",
    "key-adapter": MODEL + 'adapters = [{ path = "a", mod = "layer" }]\n',
    "key-export": MODEL + 'export = [{ as = "oci", path = "out", shape = "oci" }]\n',
    "key-message": MODEL + 'messages = [{ role = "user", contents = "hi", content = "x" }]\n',
    "key-file": MODEL + 'system = { file = "a", fil = "b" }\n',
    "key-ftype": '[ftype.mine]\nbase = "q4_K_M"\ntensor = {}\n',
    "key-include": MODEL + 'matrix.quantize = ["q8_0"]\n[[model.chat.include]]\nquantize = "q8_0"\nsytem = "x"\n',
    # types
    "type-table": 'model = "chat"\n',
    "type-model": "[model]\nchat = 5\n",
    "type-string": "[model.chat]\nfrom = 5\n",
    "type-list": '[project]\nmodelfiles = "Modelfile"\n',
    "type-list-item": '[project]\nmodelfiles = ["Modelfile", 5]\n',
    "type-text": MODEL + "system = 5\n",
    "type-file": MODEL + "system = { file = 5 }\n",
    "type-template": MODEL + "template = true\n",
    "type-license": MODEL + 'license = ["MIT", 5]\n',
    "type-tags": MODEL + 'tags = "v1"\n',
    "type-adapters": MODEL + 'adapters = "./lora"\n',
    "type-export": MODEL + 'export = "./out"\n',
    "type-adapter": MODEL + 'adapters = ["./lora"]\n',
    "type-scale": MODEL + 'adapters = [{ path = "./lora", scale = "big" }]\n',
    "type-scale-list": MODEL + 'adapters = [{ path = "./lora", scale = [1] }]\n',
    "type-messages": MODEL + 'messages = "hi"\n',
    "type-parameters": MODEL + 'parameters = "hot"\n',
    "type-matrix": MODEL + 'matrix = ["q8_0"]\n',
    "type-axis": MODEL + "matrix.quantize = 8\n",
    "type-axis-item": MODEL + "matrix.quantize = [[1]]\n",
    "type-exclude": MODEL + 'matrix.quantize = ["q8_0"]\nexclude = "q8_0"\n',
    "type-exclude-label": MODEL + 'matrix.quantize = ["q8_0"]\nexclude = [{ quantize = {} }]\n',
    "type-date": "[vars]\nwhen = 1979-05-27\n",
    "type-var-list": "[vars]\nx = [1]\n",
    "type-group": '[group]\nall = "chat"\n',
    # missing
    "missing-path": MODEL + "adapters = [{ scale = 1 }]\n",
    "missing-as": MODEL + 'export = [{ path = "out" }]\n',
    "missing-content": MODEL + 'messages = [{ role = "user" }]\n',
    "missing-file": MODEL + "system = {}\n",
    "missing-base": "[ftype.mine]\ntensors = {}\n",
    # values
    "value-ftype": MODEL + 'quantize = "q4_k_n"\n',
    "value-ftype-number": MODEL + 'quantize = "15"\n',
    "value-ftype-mix": MODEL + 'quantize = "Mine"\n[ftype.mine]\nbase = "q4_K_M"\n',
    "value-allow-requantize": MODEL + 'allow_requantize = "yes"\n',
    "value-outtype": MODEL + 'outtype = "f8"\n',
    "value-adapter-mode": MODEL + 'adapter_mode = "layers"\n',
    "value-adapter-scale": MODEL + 'adapters = [{ path = "./lora", scale = 0 }]\n',
    "value-export-as": MODEL + 'export = [{ as = "lmstudio", path = "out" }]\n',
    "value-export-split": MODEL + 'export = [{ as = "folder", path = "out", split = "50 GiB" }]\n',
    "value-export-split-of-none": MODEL + 'export = [{ as = "oci", path = "out", split = "50GB" }]\n',
    "value-export-link": MODEL + 'export = [{ as = "folder", path = "out", link = "soft" }]\n',
    "value-export-path": MODEL + 'export = [{ as = "folder", path = "" }]\n',
    "value-export-two-ways": MODEL + 'export = [{ as = "folder", path = "out" }, { as = "oci", path = "./out/" }]\n',
    "value-link": MODEL + 'link = "soft"\n',
    "value-role": MODEL + 'messages = [{ role = "bot", content = "hi" }]\n',
    "value-requires": MODEL + 'requires = "new"\n',
    "value-parameter": MODEL + 'parameters = { temperature = "warm" }\n',
    "value-parameter-whole": MODEL + "parameters = { num_ctx = 0.5 }\n",
    "value-parameter-flag": MODEL + 'parameters = { use_mmap = "maybe" }\n',
    "value-parameter-unknown": MODEL + "parameters = { temprature = 1 }\n",
    "value-parameter-gone": MODEL + "parameters = { num_gqa = 1 }\n",
    "value-parameter-deprecated": MODEL + "parameters = { mirostat = 1 }\n",
    "value-parameter-stop": MODEL + "parameters = { stop = 5 }\n",
    "value-infinite": "[vars]\nx = inf\n",
    "value-not-a-number-of-a-row": MODEL + "include = [{ size = nan }]\n",
    "value-not-a-number": MODEL + "parameters = { temperature = nan }\n",
    "value-discover-as": '[project]\ndiscover_as = "{dir}"\n',
    "value-discover-as-constant": '[project]\ndiscover_as = "chat"\n',
    # names
    "name-model": '[model."my chat"]\nfrom = "x"\n',
    "name-model-tag": '[model."chat:v1"]\nfrom = "x"\n',
    "name-var": "[vars]\nmy-var = 1\n",
    "name-var-matrix": "[vars]\nmatrix = 1\n",
    "name-group": '[group]\n"a b" = []\n',
    "name-ftype": '[ftype."a b"]\nbase = "q8_0"\n',
    "name-ftype-taken": '[ftype.Q8_0]\nbase = "q8_0"\n',
    # ftypes
    "ftype-base": '[ftype.mine]\nbase = "q4"\n',
    "ftype-pattern": "[ftype.mine]\nbase = 'q4_K_M'\ntensors = { '(' = 'q6_K' }\n",
    "ftype-type": "[ftype.mine]\nbase = 'q4_K_M'\ntensors = { 'attn_v' = 'q6' }\n",
    "ftype-type-of-files": "[ftype.mine]\nbase = 'q4_K_M'\ntensors = { 'attn_v' = 'Q4_K_M' }\n",
    "ftype-base-mix": "[ftype.mine]\nbase = 'q4_K_M'\n[ftype.other]\nbase = 'mine'\n",
    "ftype-base-float": "[ftype.mine]\nbase = 'F16'\ntensors = { 'attn_v' = 'q8_0' }\n",
    "ftype-flag": "[ftype.mine]\nbase = 'q4_K_M'\npure = 'no'\nleave_output_tensor = 1\n",
    "ftype-flags-types": "[ftype.mine]\nbase = 'q4_K_M'\noutput_tensor_type = 'q7'\ntoken_embedding_type = 8\n",
    "ftype-variable": "[ftype.mine]\nbase = '${b}'\ntensors = { 'attn_v' = '${t}' }\n[vars]\nb = 'q4'\nt = 'q6_k_m'\n",
    "ftype-matrix": "[ftype.mine]\nbase = '${matrix.quantize}'\n",
    # importance matrices
    "imatrix-type": MODEL + "imatrix = true\n",
    "imatrix-unused": MODEL + 'imatrix = "x.gguf"\n',
    "imatrix-unused-in-rows": MODEL + 'matrix.imatrix = { none = "", wiki = "wiki.gguf", code = "code.gguf" }\n',
    "imatrix-unused-inherited": MODEL
    + 'quantize = "q4_0"\nimatrix = "x.gguf"\n[model.b]\nextends = "chat"\nquantize = "none"\n',
    # metadata
    "metadata-no-table": MODEL + 'metadata = "x"\n',
    "metadata-misspelled": MODEL + 'metadata = { "general.licence" = "mit" }\n',
    "metadata-computed": MODEL + 'metadata = { "general.architecture" = "qwen2" }\n',
    "metadata-of-tensors": MODEL + 'metadata = { "llama.attention.head_count_kv" = 8 }\n',
    "metadata-of-vocabulary": MODEL + 'metadata = { "tokenizer.ggml.tokens" = ["a"] }\n',
    "metadata-pre": MODEL + 'metadata = { "tokenizer.ggml.pre" = "qwen2" }\n',
    "metadata-base-model-alone": MODEL + 'metadata = { "general.base_model.0.name" = "a" }\n',
    "metadata-base-models": MODEL + 'metadata = { "general.base_models" = [{ nam = "a" }] }\n',
    "metadata-datasets": MODEL + 'metadata = { "general.datasets" = [{ name = 1 }] }\n',
    "metadata-text": MODEL + 'metadata = { "general.version" = 1.0 }\n',
    "metadata-whole": MODEL + 'metadata = { "general.sampling.top_k" = 40.5 }\n',
    "metadata-tags": MODEL + 'metadata = { "general.tags" = "chat" }\n',
    "metadata-date": MODEL + 'metadata = { "acme.made" = 1979-05-27 }\n',
    "metadata-infinite": MODEL + 'metadata = { "acme.x" = inf }\n',
    "metadata-file": MODEL + 'metadata = { "tokenizer.chat_template" = { file = 5 } }\n',
    "metadata-nested": '[defaults.metadata]\ngeneral.sampling.temp = "warm"\n',
    "metadata-in-axis": MODEL + 'matrix.metadata = { a = { "general.name" = 1 }, b = { "general.name" = "b" } }\n',
    # pre-tokenizers
    "pre-unknown": MODEL + 'pre = "llama-bep"\n',
    "pre-type": MODEL + 'pre = ["llama-bpe"]\n',
    "pre-in-axis": MODEL + 'matrix.pre = ["llama-bpe", "lama"]\n',
    "pre-in-include": MODEL + 'matrix.quantize = ["q8_0"]\ninclude = [{ quantize = "q8_0", pre = "x" }]\n',
    # names to push to
    "push-type": MODEL + 'push = "registry.example.com/a/b:c"\n',
    "push-malformed": MODEL + 'push = ["you/chat", "registry.example.com/chat"]\n',
    "push-in-glob": '[model."a-*"]\npush = ["a/b@c"]\n',
    "push-in-axis": MODEL + 'matrix.push = { a = ["a/b"], b = ["b/"] }\n',
    "push-in-include": MODEL + 'matrix.quantize = ["q8_0"]\ninclude = [{ quantize = "q8_0", push = [":x"] }]\n',
    # globs
    "glob-modelfile": '[model."a-*"]\nmodelfile = "x"\nextends = "b"\n',
    # variables
    "var-unknown": MODEL + 'system = "${nam}"\n[vars]\nname = "x"\n',
    "var-unknown-none": MODEL + 'system = "${name}"\n',
    "var-unclosed": MODEL + 'system = "${name"\n',
    "var-malformed": MODEL + 'system = "${a b}"\n',
    "var-in-glob": '[model."a-*"]\nsystem = "${name}"\n',
}


@pytest.mark.parametrize("case", CASES)
def test_complaint_is_the_golden_one(case: str, tmp_path: Path) -> None:
    check_golden(case, complaint(tmp_path, CASES[case]))


def test_every_error_of_a_text_has_a_line_and_a_column(tmp_path: Path) -> None:
    for case, toml in CASES.items():
        first = complaint(tmp_path, toml).splitlines()[0]
        assert first.split(":")[1].strip() == "ModelBuild.toml", case
        assert first.split(":")[2].isdecimal() and first.split(":")[3].isdecimal(), first


def test_all_errors_are_said_at_once_ordered_by_place(tmp_path: Path) -> None:
    text = complaint(
        tmp_path,
        '[model.b]\nfrom = 1\n[model.a]\nfrom = "x"\nquantize = "q9"\nsystem = "${x}"\npre = "y"\n'
        '[group]\nall = ["c"]\n',
    )
    lines = [line for line in text.splitlines() if line.startswith("error:")]
    assert [line.split(":")[2] for line in lines] == ["2", "5", "6", "7", "9"]


def test_a_malformed_model_says_nothing_further(tmp_path: Path) -> None:
    text = complaint(tmp_path, '[model.a]\nfrm = "x"\n[model.b]\nfrom = "a"\nextends = "a"\n')
    assert text.count("error:") == 1


DESIGN = r"""
[project]
name = "acme-models"
namespace = "acme"
modelfiles = ["models/**/Modelfile"]
models = "build/models"
default = ["support*"]
[defaults]
quantize = "q4_K_M"
[model.support]
modelfile = "support/Modelfile"
parameters = { temperature = 0.2 }
[model.support.matrix]
quantize = ["q8_0", "q4_K_M", "q6_K"]
[[model.support.exclude]]
quantize = "q6_K"
[model.support.default]
quantize = "q4_K_M"
[model.release]
name = "acme/${matrix.base}-${matrix.tone}"
tag = "${matrix.quantize}"
from = "${matrix.base.value}"
adapters = [{ path = "${matrix.tone.value}", mode = "merge" }]
push = ["registry.example.com/team/${matrix.base}-${matrix.tone}:${matrix.quantize}"]
[model.release.matrix]
base = { small = "./base/1b", medium = "./base/3b", large = "./base/8b" }
tone = { terse = "./lora/terse", kind = "./lora/kind" }
quantize = ["q8_0", "q4_K_M"]
[model."persona-*"]
parameters = { num_ctx = "${ctx}" }
[ftype.mine]
base = "q4_K_M"
tensors = { 'attn_v\.weight$' = "q6_K", '^output\.weight$' = "q8_0" }
[vars]
ctx = 8192
[group]
release = ["support", "release"]
"""


def test_the_designs_example_is_right() -> None:
    checked = document.check(DESIGN, "ModelBuild.toml", Kept())
    assert not checked.problems
    assert checked.document == tomllib.loads(DESIGN)


def test_a_value_that_changes_its_shape_is_not_checked_by_the_schema_again(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    faults = schema.faults
    monkeypatch.setattr(schema, "faults", lambda whole, *more: (checked.append(whole), faults(whole, *more))[1])
    keep = Kept()

    def check(text: str) -> list[str]:
        checked.clear()
        problems = document.check(text, "ModelBuild.toml", keep).problems
        assert not problems.errors
        return [error.what.removeprefix("model 'chat': ") for error in problems.of("chat").errors]

    text = MODEL + "parameters = { temperature = 0.5 }\nmatrix.quantize = ['q8_0', 'q4_K_M']\n"
    assert check(text) == []
    assert checked == ["document", "model"]
    assert check(text.replace("0.5", "0.25").replace("./x", "./y")) == []
    assert checked == []
    assert check(text.replace("q8_0", "q8_9")) == ["unknown type 'q8_9'"]
    assert checked == []
    assert check(text.replace("0.5", "true")) == ["parameter 'temperature' expects a number, got true"]
    assert checked == ["document"]
    assert check(text.replace("temperature", "temprature")) == ["unknown parameter 'temprature'"]
    assert checked == ["document"]
    for _ in range(2):
        assert check(text.replace("from", "form")) == ["unknown key 'form'"]
        assert checked == ["document"]

"""[tools], `convert`, `imatrix` as a text, `gate` and `trust`: what a project says of programs of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import load

M = '[model.m]\nfrom = "./x"\n'


def test_tools_are_paths_beside_the_file(tmp_path: Path) -> None:
    text = '[vars]\nwhere = "up"\n[tools]\nllama_cpp = "../${where}"\npython = "/usr/bin/python"\n' + M
    (variant,) = load(tmp_path, text).variants
    assert variant.tools.llama_cpp and variant.tools.llama_cpp.path == str(tmp_path.parent / "up")
    assert variant.tools.python and variant.tools.python.path == "/usr/bin/python"
    assert variant.tools.binaries is None
    assert variant.converters == ("native",) and variant.gate is None and variant.calibration is None


def test_a_part_takes_what_it_does_not_name_from_the_project(tmp_path: Path) -> None:
    whole = '[project]\ninclude = ["a/ModelBuild.toml"]\n[tools]\nllama_cpp = "l"\npython = "p"\n' + M
    files = {"a/ModelBuild.toml": '[tools]\npython = "q"\n' + M.replace("m]", "n]")}
    own, other = load(tmp_path, whole, files).variants
    assert own.tools.python and own.tools.python.path == str(tmp_path / "p")
    assert other.tools.python and other.tools.python.path == str(tmp_path / "a/q")
    assert other.tools.llama_cpp == own.tools.llama_cpp


def test_values(tmp_path: Path) -> None:
    text = '[defaults]\nconvert = ["native", "LLAMA.CPP"]\ngate = { text = "t", chunks = 7 }\n' + M + (
        'quantize = "q4_0"\nimatrix = { text = "c/d.txt", chunks = "3" }\ngate = { kld = 0.05 }\ntrust = true\n'
    )  # fmt: skip
    (variant,) = load(tmp_path, text).variants
    assert variant.converters == ("native", "llama.cpp") and variant.flag("trust")
    assert variant.calibration and variant.calibration.chunks == 3 and variant.file("imatrix") is None
    assert variant.calibration.text.path == str(tmp_path / "c/d.txt")
    assert variant.gate and (variant.gate.kld, variant.gate.chunks) == (0.05, 7)
    assert variant.gate.text and variant.gate.text.path == str(tmp_path / "t")
    (cleared,) = load(
        tmp_path, text.replace("kld = 0.05", 'kld = ""').replace('{ text = "c/d.txt", chunks = "3" }', '""')
    ).variants
    assert cleared.gate is None and cleared.calibration is None
    (file,) = load(tmp_path, text.replace('{ text = "c/d.txt", chunks = "3" }', '"i.dat"')).variants
    assert file.calibration is None and file.file("imatrix")


def test_an_axis_may_be_a_text_or_a_file(tmp_path: Path) -> None:
    text = M + 'quantize = "q4_0"\n[model.m.matrix]\nimatrix = { no = "", file = "i.dat", text = { text = "c.txt" } }\n'
    no, file, made = load(tmp_path, text).variants
    assert (no.calibration, no.file("imatrix")) == (None, None)
    assert file.file("imatrix") and made.calibration and made.calibration.chunks is None


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('convert = ["ggml"]', "unknown converter 'ggml'"),
        ("imatrix = { chunks = 3 }", "'imatrix.text' is missing"),
        ('imatrix = { text = "c", chunks = 0 }', "'chunks' expects a whole number of at least 1"),
        ('imatrix = { text = "c", chunks = 1.5 }', "'chunks' expects a whole number"),
        ('imatrix = { text = "c", chunk = 1 }', "unknown key 'chunk'"),
        ("imatrix = 3", "'imatrix' expects a path, or a table"),
        ("gate = { kld = -1 }", "'kld' expects a number of nats above 0"),
        ("gate = { kld = true }", "'gate.kld' expects a number"),
        ("gate = { ppl = 1 }", "unknown key 'ppl'"),
        ("gate = 0.05", "'gate' expects a table"),
        ('trust = "yes"', "'trust' expects true or false"),
    ],
)
def test_what_is_wrong(tmp_path: Path, line: str, what: str) -> None:
    project = load(tmp_path, M + 'quantize = "q4_0"\n' + line + "\n")
    (broken,) = project.broken
    assert what in broken.errors[0].what and broken.errors[0].line == 4


def test_what_is_for_quantized_models(tmp_path: Path) -> None:
    project = load(tmp_path, M + "gate = { kld = 0.1 }\n")
    assert project.broken[0].errors[0].what == "model 'm': 'gate' is for quantization, but 'm' is not quantized"
    project = load(tmp_path, M + 'imatrix = { text = "c" }\n')
    assert project.broken[0].errors[0].what == "model 'm': 'imatrix' is for quantization, but 'm' is not quantized"

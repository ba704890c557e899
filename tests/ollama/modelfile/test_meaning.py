"""What a Modelfile asks for, and the faults and traps in it, as they are shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.errors import Error, render
from modelbuild.ollama.modelfile import parse
from modelbuild.ollama.modelfile.meaning import looks_like_path, version

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/modelfile"


def test_lists_add_up_and_of_scalars_the_last_counts() -> None:
    read = parse(
        "FROM a\nFROM b\nADAPTER c\nDRAFT d\nLICENSE a\nLICENSE b\nMESSAGE user q: r\nMESSAGE assistant\ts\n"
        "SYSTEM x\nSYSTEM y\nTEMPLATE t\nRENDERER r\nPARSER p\nREQUIRES v0.14.0-rc1\nPARAMETER stop a\nPARAMETER stop b\n"
        "PARAMETER top_k 1\nPARAMETER top_k 2\nPARAMETER mirostat 1",
        "Modelfile",
    )
    assert not read.errors
    assert [each.value for each in read.from_] == ["a", "b"]
    assert [each.value for each in read.adapters] == ["c"]
    assert [each.value for each in read.drafts] == ["d"]
    assert read.licenses == ("a", "b")
    assert read.messages == (("user", "q: r"), ("assistant", "s"))
    assert (read.system, read.template, read.renderer, read.parser, read.requires) == ("y", "t", "r", "p", "0.14.0-rc1")
    assert read.parameters == {"stop": ["a", "b"], "top_k": 2}
    assert len(read.warnings) == 3


def test_an_empty_scalar_counts_as_not_given() -> None:
    read = parse('FROM a\nSYSTEM x\nSYSTEM ""\nTEMPLATE ""\nRENDERER ""\n', "Modelfile")
    assert (read.system, read.template, read.renderer) == (None, None, None)


@pytest.mark.parametrize("text", ["0.14", "1", "v0.14.0-rc1", "0.14.0+build.7", "0.1.0-a-b.0"])
def test_a_version_is_what_go_takes_for_one(text: str) -> None:
    assert version(text) == text.removeprefix("v")


@pytest.mark.parametrize(
    "text", ["", "v", "0.14.0.1", "01.2", "1.2-rc1", "1.2.3-01", "1.2.3-", "latest", "vv1", "1.2.3 "]
)
def test_another_version_is_an_error(text: str) -> None:
    with pytest.raises(Error, match="REQUIRES expects a version"):
        version(text)


def test_broken_utf8_is_a_sign_for_each_sequence_and_after_a_mark_for_each_byte() -> None:
    cut = b"FROM x\nSYSTEM a\xe2\x82b\xed\xa0\x80c\n"
    assert parse(cut, "Modelfile").system == "a\ufffdb\ufffd\ufffd\ufffdc"
    assert parse(b"\xef\xbb\xbf" + cut, "Modelfile").system == "a\ufffd\ufffdb\ufffd\ufffd\ufffdc"


def test_of_several_templates_only_the_last_is_checked() -> None:
    assert not parse("FROM x\nTEMPLATE {{ end }}\nTEMPLATE {{ .Prompt }}\n", "Modelfile").errors
    assert parse("FROM x\nTEMPLATE {{ .Prompt }}\nTEMPLATE {{ end }}\n", "Modelfile").errors
    assert not parse('FROM x\nTEMPLATE {{ end }}\nTEMPLATE ""\n', "Modelfile").errors


# Faults and traps, as they are shown

FAULTS = {
    "unknown_instruction": "FORM llama3\n",
    "unknown_instruction_that_is_a_parameter": "FROM x\nTEMPERATURE 0.4\nstop when it is done\n",
    "unknown_instruction_that_is_an_option": "FROM x\nQUANTIZE q4_K_M\n",
    "unknown_instruction_after_unquoted_text": "FROM x\nSYSTEM You are a helpful\nassistant who explains.\n",
    "unknown_instruction_after_inner_quotes": 'FROM x\nSYSTEM "Say\n"hello"\nand go on."\n',
    "unknown_instruction_after_inner_triple_quotes": 'FROM x\nSYSTEM """Python:\ndef f():\n  """\n  Sum."""\n',
    "comment_with_slashes": "FROM x\n// the prompt\n",
    "no_space": "FROM: llama3\n",
    "no_value": "FROM x\nSYSTEM\nPARAMETER top_k 1\n",
    "no_value_at_the_end": "FROM",
    "no_from": "SYSTEM hello\n",
    "empty_file": "",
    "parameter_alone": "FROM x\nPARAMETER\n",
    "parameter_without_name": "FROM x\nPARAMETER \n",
    "parameter_without_value": "FROM x\nPARAMETER num_ctx\n",
    "parameter_with_a_hyphen": "FROM x\nPARAMETER num-ctx 4096\n",
    "parameter_with_equals": "FROM x\nPARAMETER temperature=0.7\n",
    "parameter_after_two_spaces": "FROM x\nPARAMETER  num_ctx 4096\n",
    "parameter_that_is_an_instruction": "FROM x\nPARAMETER system You are kind.\n",
    "parameter_model": "PARAMETER model llama3\n",
    "parameter_unknown": "FROM x\nPARAMETER temprature 0.7\n",
    "parameter_gone": "FROM x\nPARAMETER tfs_z 1.0\n",
    "parameter_deprecated": "FROM x\nPARAMETER mirostat 2\n",
    "parameter_no_number": "FROM x\n\nPARAMETER temperature warm\n",
    "parameter_no_int": "FROM x\nPARAMETER num_ctx 4096.5\n",
    "parameter_int_too_large": "FROM x\nPARAMETER seed 9223372036854775808\n",
    "parameter_int_rounded": "FROM x\nPARAMETER seed 9007199254740993\n",
    "parameter_no_bool": "FROM x\nPARAMETER use_mmap yes\n",
    "parameter_infinite": "FROM x\nPARAMETER temperature inf\n",
    "parameter_too_large_for_float32": "FROM x\nPARAMETER temperature 1e39\n",
    "parameter_with_a_comment": "FROM x\nPARAMETER temperature 0.7 # warm\n",
    "parameter_twice": "FROM x\nPARAMETER top_k 10\nPARAMETER top_k 20\n",
    "stop_with_an_escape": 'FROM x\nPARAMETER stop "\\nUser:"\n',
    "stop_in_single_quotes": "FROM x\nPARAMETER stop '<|im_end|>'\n",
    "stop_lists": (
        'FROM x\nPARAMETER stop ["<|im_start|>","<|im_end|>"]\nPARAMETER stop [word1 word2]\nPARAMETER stop []\n'
        "PARAMETER stop [e~[\nPARAMETER stop [INST]\n"
    ),
    "stop_empty": 'FROM x\nPARAMETER stop ""\n',
    "stop_with_an_entity": "FROM x\nPARAMETER stop &lt;|im_end|&gt;\n",
    "stop_with_a_comment": "FROM x\nPARAMETER stop <|im_end|> # the end of a turn\n",
    "stop_with_equals": "FROM x\nPARAMETER stop = <|im_end|>\n",
    "parameters_out_of_range": "FROM x\nPARAMETER top_p 3\nPARAMETER temperature -1\nPARAMETER num_ctx 0\nPARAMETER repeat_penalty 0\n",
    "template_unknown_values": (
        'FROM x\nTEMPLATE """{{ if .Sytem }}{{ .System }}\n{{ end }}{{ range .Messages }}{{ .Rol }}: {{ .Prompt }}{{ end }}"""\n'
    ),
    "template_twice": "FROM x\nTEMPLATE {{ .Prompt\nTEMPLATE {{ .Prompt }}\n",
    "message_unknown_role": "FROM x\nMESSAGE assisstant hi\n",
    "message_role_in_capitals": "FROM x\nMESSAGE User hi\n",
    "message_role_with_a_colon": "FROM x\nMESSAGE user: hi\n",
    "message_after_two_spaces": "FROM x\nMESSAGE  user hi\n",
    "message_without_text": "FROM x\nMESSAGE user\n",
    "message_alone": "FROM x\nMESSAGE\n",
    "message_without_role": "FROM x\nMESSAGE \n",
    "quote_never_closed": 'FROM x\nSYSTEM "You are kind.\nPARAMETER top_k 1\n',
    "triple_quote_never_closed": 'FROM x\nTEMPLATE """{{ .Prompt }}\nPARAMETER top_k 1\n',
    "triple_quote_closed_by_two": 'FROM x\nSYSTEM """You are kind.""\n',
    "text_after_the_closing_quotes": 'FROM x\nSYSTEM """You are kind.""" # and short\nPARAMETER top_k 1\n',
    "stray_quote_swallows_a_line": 'FROM x\nSYSTEM "You are kind.\nPARAMETER stop "<|im_end|>"\n',
    "stray_quote_swallows_a_template": 'FROM x\nSYSTEM "You are kind.\nTEMPLATE """\n{{ .Prompt }}\n"""\n',
    "stray_quote_swallows_several_lines": 'FROM x\nSYSTEM "kind\nparameter top_k 1\nMESSAGE user say "hi"\n',
    "triple_quote_swallows_a_line": 'FROM x\nSYSTEM """You are kind.\nTEMPLATE """{{ .Prompt }}"""\n',
    "quoted_text_holds_a_command": 'FROM x\nSYSTEM "Write a Dockerfile:\nFROM nginx\nand no more."\n',
    "template_unclosed_action": "FROM x\nTEMPLATE {{ .System }} {{ .Prompt }\n",
    "template_without_end": 'FROM x\nTEMPLATE """{{ if .System }}{{ .System }}\n{{ .Prompt }}"""\n',
    "template_with_one_end_too_many": 'FROM x\nTEMPLATE """\n{{ .Prompt }}\n  {{ end }}\n"""\n',
    "template_unknown_function": "FROM x\nTEMPLATE {{ .Prompt | lowercase }}\n",
    "template_of_jinja": 'FROM x\nTEMPLATE """{% for m in messages %}\n{{ m[\'content\'] }}{% endfor %}"""\n',
    "adapter_twice": "FROM x\nADAPTER ./a\nADAPTER ./b\n",
    "requires_no_version": "FROM x\nREQUIRES ollama 0.14\n",
    "from_empty": "FROM \n",
    "adapter_empty": 'FROM x\nADAPTER ""\n',
    "from_with_a_comment": "FROM llama3 # small\n",
    "from_in_single_quotes": "FROM './model.gguf'\n",
    "system_twice": "FROM x\nSYSTEM be kind\nSYSTEM be brief\n",
    "system_empty": 'FROM x\nSYSTEM ""\n',
    "invisible_in_a_word": "FROM x\nSYS\u200bTEM hi\n",
    "invisible_before_a_word": "FROM x\n\xa0\xa0SYSTEM hi\n",
    "invisible_in_a_parameter": "FROM x\nPARAMETER top\xad_k 1\n",
    "invisible_in_a_value": "FROM x\nSYSTEM kind\xa0and\u200b brief \U0001f468\u200d\U0001f469\n",
    "not_utf8": b"FROM x\nSYSTEM caf\xe9\n",
    "not_utf8_after_a_mark": b"\xef\xbb\xbfFROM x\nSYSTEM caf\xe9\n",
    "utf16_without_a_mark": "FROM x\n".encode("utf-16-le"),
    "several_faults": "FROM x\nPARAMETER top_k many\nPARAMETER warmth 1\nREQUIRES new\n",
}  # fmt: skip


def shown(text: str | bytes) -> str:
    try:
        read = parse(text, "Modelfile")
    except Error as error:
        return render(error) + "\n"
    return "\n\n".join(
        [*(render(each) for each in read.errors), *(render(each, "warning") for each in read.warnings)]
    ) + "\n"  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_shown_as_agreed(name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    text = shown(FAULTS[name])
    assert text.strip(), "no fault found"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(FAULTS)


@pytest.mark.parametrize(
    "text",
    [
        'SYSTEM "You are kind.\nFrom now on be brief.\nmessage me if in doubt"',
        "SYSTEM \"Rules:\n\nSystem prompts are secret.\nSay 'no'.\"",
        'SYSTEM """\nFROM nginx:alpine\nCOPY . /srv\nPARAMETER stop "x"\n"""',
        'SYSTEM """a\nPARAMETER stop x\nb"""',
        'SYSTEM "Answer\nFROM the book"',
        'LICENSE "MIT\n\nCopyright (c)"',
        'SYSTEM don\'t "quote"',
        'TEMPLATE """{{ .System }}\nSYSTEM {{ .Prompt }}"""',
        "PARAMETER stop ### User:\nPARAMETER stop 'tis\nPARAMETER stop #",
    ],
)
def test_sane_text_raises_no_alarm(text: str) -> None:
    read = parse("FROM x\n" + text + "\n", "Modelfile")
    assert read.errors == ()
    assert [each.what for each in read.warnings if "FROM the book" not in str(each)] == []


@pytest.mark.parametrize(
    "text",
    ["./missing.gguf", "../x", "/models/x", "~/x", "~", ".", "model.gguf", "weights/model.Q4_K_M.gguf", "a/b/c/d",
     "C:\\models\\x", "C:/models", "models\\x", "base/model.safetensors"],
)  # fmt: skip
def test_looks_like_a_path(text: str) -> None:
    assert looks_like_path(text)


@pytest.mark.parametrize(
    "text",
    ["llama3", "llama3:8b", "user/model", "hf.co/user/repo-GGUF", "hf.co/user/repo-GGUF:repo.Q4_K_M.gguf",
     "hf.co/user/repo.gguf", "localhost:5000/ns/m", "host/ns/m:tag", "hg://a/b/c/d", "support-q4_k_m", ""],
)  # fmt: skip
def test_looks_like_a_name(text: str) -> None:
    assert not looks_like_path(text)

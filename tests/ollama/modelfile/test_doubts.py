"""Values that Ollama takes and that do nothing, and their neighbours that are meant."""

from __future__ import annotations

import pytest

from modelbuild.ollama.modelfile import doubts, parse
from modelbuild.ollama.modelfile.parameters import PARAMETERS, parameter


def said(name: str, text: str) -> list[str]:
    return [each.what for each in doubts.of(name, parameter(name, text))]


@pytest.mark.parametrize(
    "text",
    [
        '["<|im_start|>","<|im_end|>"]', "['</s>', '<s>']", '["one"]', "[word1 word2]", "[<|im_start|> <|im_end|>]", "[[INST] [/INST]]",
        "[]", "[ ]", '{"stop": ["a"]}', "<|im_start|>, <|im_end|>", "</s>;<s>", "<|im_start|> <|im_end|>", 'a", "b', 'a","b","c',
    ],
)  # fmt: skip
def test_no_model_writes_a_list_of_stops(text: str) -> None:
    assert said("stop", text) == ["a stop is one text, and no model writes a list of them"]


@pytest.mark.parametrize(
    "text",
    [
        "[e~[", "[INST]", "[/INST]", "[TOOL_CALLS]", "[END OF TEXT]",
        "</s>", "<|eot_id|>", "<|a|><|b|>", "### User:", "User:", "\n\n", "\t",
        "{", "}", "{}", "[", "]", "]]", '"', '"""', '"}', "```", "'", "''", "<|im_end|>\n", "#", "# ", "a, b", "<s>a, b</s>", "[x] [y]",
        "&", "AT&T", "\\", "\\d", "= =", "=", '{"name": "x"}', '", ', "1 2",
    ],
)  # fmt: skip
def test_what_a_model_may_write_is_no_doubt(text: str) -> None:
    assert said("stop", text) in ([], ["the '=' is part of the stop text"] if text.startswith("= ") else [])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "an empty stop stops nothing"),
        ("\\n", "a stop has no escapes: the backslash is part of the stop text"),
        ("\\u003c|im_end|\\u003e", "a stop has no escapes: the backslash is part of the stop text"),
        ("&lt;|im_end|&gt;", "'&lt;' is not decoded: it is part of the stop text"),
        ("'</s>'", "the single quotes are part of the value of stop"),
        ("“</s>”", "the quotes “…” are part of the value of stop"),
        ("`</s>`", "the quotes `…` are part of the value of stop"),
        ("</s> # end", "'# end' is part of the stop text"),
        ("= </s>", "the '=' is part of the stop text"),
    ],
)
def test_other_texts_that_no_model_writes(text: str, what: str) -> None:
    assert said("stop", text) == [what]


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("temperature", ["-1", "-0.1"], ["0", "2", "10"]),
        ("top_p", ["3", "-0.5", "1.01"], ["0", "1", "0.9"]),
        ("min_p", ["-1", "2"], ["0", "1"]),
        ("typical_p", ["-1", "2"], ["0.5", "1"]),
        ("repeat_penalty", ["0", "-1"], ["0.5", "1", "1.1"]),
        ("num_ctx", ["0", "-1"], ["1", "4096"]),
        ("num_batch", ["0"], ["512"]),
        ("num_thread", ["-1"], ["0", "8"]),
        ("num_gpu", ["-2"], ["-1", "0", "99"]),
        ("main_gpu", ["-1"], ["0"]),
        ("num_predict", ["-3"], ["-2", "-1", "0", "128"]),
        ("num_keep", ["-2"], ["-1", "0", "24"]),
        ("repeat_last_n", ["-2"], ["-1", "0", "64"]),
        ("top_k", ["-2"], ["-1", "0", "40"]),
        ("draft_num_predict", ["-1"], ["0", "16"]),
        ("seed", [], ["-1", "0", "42"]),
        ("presence_penalty", [], ["-2", "2"]),
        ("frequency_penalty", [], ["-2", "2"]),
    ],
)
def test_a_number_out_of_range_means_nothing(name: str, wrong: list[str], right: list[str]) -> None:
    assert all(f"'{name}' is {text}, which means nothing: expected " in said(name, text)[0] for text in wrong)
    assert all(said(name, text) == [] for text in right)


def test_every_number_is_judged_or_left_alone_on_purpose() -> None:
    numbers = {name for name, kind in PARAMETERS.items() if kind in ("int", "float")}
    assert numbers - set(doubts.RANGES) == {"seed", "presence_penalty", "frequency_penalty"}


def test_the_bytes_of_a_list_stay() -> None:
    read = parse('FROM x\nPARAMETER stop ["a","b"]\nPARAMETER stop [INST]\n', "Modelfile")
    assert read.parameters == {"stop": ['["a","b"]', "[INST]"]}
    assert [each.line for each in read.warnings] == [2]

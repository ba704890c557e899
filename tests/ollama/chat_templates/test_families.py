"""Families of chat templates: each is recognized by what it renders, and its Go template renders the same."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from modelbuild.ollama.chat_templates import Family, families, recognize
from modelbuild.ollama.template import find_fault
from tests.ollama.chat_templates.gotemplate import chat
from tests.ollama.chat_templates.templates import CHATML, KNOWN, MISTRAL_LAST, UNKNOWN, ZEPHYR

DATA = Path(__file__).parents[3] / "../shared/data"
CONFIGS = {
    "gemma-2-2b-it-ft": "gemma", "gemma-2b-it": "gemma", "mistral-7b": "mistral", "mistral-7b-instruct-v0.3": "mistral",
    "phi-3-mini-128k": "phi3", "phi-3-mini-4k-ft": "phi3", "qwen2.5-14b-cogito": "chatml",
}  # fmt: skip

BEGINNINGS = ("<s>", "<|begin_of_text|>", "<bos>")


def conversation(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(contents)]
    return messages if system is None else [{"role": "system", "content": system}, *messages]


CONVERSATIONS = [
    conversation("Hello?"),
    conversation("Why?", system="Be brief."),
    conversation("One", "Two {{ .Content }}\n\n<b>", "Drei: ä, 好"),
    conversation("One", "Two", "Three", system="You are {{ x }}.\nLine two."),
    conversation("1", "2", "3", "4", "5", system="S"),
    conversation("1", "2", "3", "4", "5", "6", "7"),
]


def recognized(jinja: str) -> Family:
    family = recognize(jinja)
    assert family is not None
    return family


def check_equal(jinja: str, family: Family, bos: str = "<s>", eos: str = "</s>") -> int:
    """Compare with Jinja all conversations that the template takes; how many those were."""
    from tests.ollama.chat_templates.jinja import Refusal, render

    compared = 0
    for messages in CONVERSATIONS:
        try:
            expected = render(jinja, messages, bos, eos)
        except Refusal:
            assert messages[0]["role"] == "system"
            continue
        if messages[0]["role"] == "system" and messages[0]["content"] not in expected:
            continue
        for token in (bos, *BEGINNINGS):
            expected = expected.removeprefix(token)
        assert chat(family.template, messages) == expected
        compared += 1
    return compared


@pytest.mark.parametrize("case", KNOWN)
def test_a_template_is_recognized(case: str) -> None:
    name, jinja = KNOWN[case]
    assert recognized(jinja).name == name


@pytest.mark.parametrize("case", KNOWN)
def test_the_go_template_renders_what_the_jinja_template_renders(case: str) -> None:
    _, jinja = KNOWN[case]
    assert check_equal(jinja, recognized(jinja)) >= 3


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_template_of_another_family_is_none_of_ours(case: str) -> None:
    assert recognize(UNKNOWN[case]) is None


@pytest.mark.parametrize("case", KNOWN)
def test_go_accepts_the_template(case: str) -> None:
    template = recognized(KNOWN[case][1]).template
    assert find_fault(template) is None
    assert ".Messages" in template


@pytest.mark.parametrize("case", KNOWN)
def test_the_template_does_not_begin_with_bos(case: str) -> None:
    text = chat(recognized(KNOWN[case][1]).template, conversation("Hello?"))
    assert not text.startswith(BEGINNINGS)


def test_every_family_has_a_template_here() -> None:
    assert {name for name, _ in KNOWN.values()} == set(families()), "KNOWN in templates.py"
    page = (Path(__file__).parents[3] / "docs/chat-templates.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(families()), "docs/chat-templates.md"


@pytest.mark.parametrize("case", KNOWN)
def test_blanks_between_tags_do_not_matter(case: str) -> None:
    name, jinja = KNOWN[case]
    loose = jinja.replace("{%- ", "{%-   ").replace(" %}", "  %}").replace("{{- ", "{{-\n ").replace("{#-", "{#- more:")
    assert recognize(loose) == recognize(jinja)


CHATML_TEXT = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne<|im_end|>\n<|im_start|>assistant\nTwo<|im_end|>\n"
    "<|im_start|>user\nThree<|im_end|>\n<|im_start|>assistant\n"
)
LLAMA3_TEXT = (
    "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nOne<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nTwo<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nThree<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("chatml", CHATML_TEXT),
        ("llama3", LLAMA3_TEXT),
        ("llama2", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nOne [/INST] Two </s><s>[INST] Three [/INST]"),
        ("mistral", "[INST] Be brief.\n\nOne [/INST]Two</s>[INST] Three [/INST]"),
        ("mistral, system last", "[INST] One[/INST] Two</s>[INST] Be brief.\n\nThree[/INST]"),
        ("mistral of Nemo", "[INST]One[/INST]Two</s>[INST]Be brief.\n\nThree[/INST]"),
        ("gemma", "<start_of_turn>user\nBe brief.\n\nOne<end_of_turn>\n<start_of_turn>model\nTwo<end_of_turn>\n"
         "<start_of_turn>user\nThree<end_of_turn>\n<start_of_turn>model\n"),
        ("phi3", "<|system|>\nBe brief.<|end|>\n<|user|>\nOne<|end|>\n<|assistant|>\nTwo<|end|>\n<|user|>\nThree<|end|>\n<|assistant|>\n"),
        ("zephyr", "<|system|>\nBe brief.</s>\n<|user|>\nOne</s>\n<|assistant|>\nTwo</s>\n<|user|>\nThree</s>\n<|assistant|>\n"),
        ("alpaca", "Be brief.\n\n### Instruction:\nOne\n\n### Response:\nTwo</s>\n\n### Instruction:\nThree\n\n### Response:\n"),
        ("vicuna", "Be brief. USER: One ASSISTANT: Two</s>USER: Three ASSISTANT:"),
    ],
)  # fmt: skip
def test_a_conversation_in_the_words_of_the_family(case: str, expected: str) -> None:
    messages = conversation("One", "Two", "Three", system="Be brief.")
    assert chat(recognized(KNOWN[case][1]).template, messages) == expected


def test_a_refused_or_dropped_system_message_is_still_said() -> None:
    for case in ("mistral", "gemma", "phi3 of old, which drops the system message", "alpaca without a system message"):
        assert "Be brief." in chat(recognized(KNOWN[case][1]).template, conversation("Hello?", system="Be brief."))


def test_a_default_system_prompt_gives_way_to_another() -> None:
    template = recognized(KNOWN["chatml with a default"][1]).template
    assert chat(template, conversation("Hello?")).startswith(
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n"
    )
    assert "You help." not in chat(template, conversation("Hello?", system="Be brief."))


def test_the_date_is_that_of_the_day() -> None:
    assert "Today Date: 23 Nov 2026\n" in chat(
        recognized(KNOWN["llama3 with its date"][1]).template, conversation("Hello?")
    )


@pytest.mark.parametrize("case", KNOWN)
def test_a_conversation_that_was_cut_at_its_beginning_renders(case: str) -> None:
    """Ollama drops the oldest messages, not the system message, when they don't fit."""
    messages = conversation("One", "Two", "Three", system="Be brief.")
    del messages[1]
    text = chat(recognized(KNOWN[case][1]).template, messages)
    assert text.count("Be brief.") == text.count("Two") == text.count("Three") == 1


def test_a_conversation_of_nothing_renders() -> None:
    for _, jinja in KNOWN.values():
        chat(recognized(jinja).template, [])


def test_tokens_can_be_named() -> None:
    jinja = CHATML.replace("'<|im_end|>'", "eos_token")
    assert recognize(jinja) is None
    family = recognize(jinja, eos="<|im_end|>")
    assert family == recognize(CHATML)
    stable = recognize(ZEPHYR, bos="", eos="<|endoftext|>")
    assert stable is not None and "<|endoftext|>" in stable.template
    assert check_equal(ZEPHYR, stable, "", "<|endoftext|>") == len(CONVERSATIONS)


THINKING = ("chatml of Qwen3", "deepseek that thinks")


@pytest.mark.parametrize("case", THINKING)
def test_thoughts_of_former_answers_are_left_out(case: str) -> None:
    from tests.ollama.chat_templates.jinja import render

    jinja = KNOWN[case][1]
    thought = conversation("One", "<think>\nhm</think>Two", "Three", system="S")
    parsed = conversation("One", "Two", "Three", system="S")
    parsed[2]["thinking"] = "hm"
    text = chat(recognized(jinja).template, parsed, think=True)
    assert "hm" not in text
    assert render(jinja, thought).endswith(text)


@pytest.mark.parametrize("case", THINKING)
def test_a_thought_after_the_last_question_stays(case: str) -> None:
    """So it is while tools are called; Ollama reads from it the tags of the model's thoughts."""
    messages = conversation("One", "Two")
    messages[1]["thinking"] = "hm"
    assert "<think>\nhm\n</think>\n\nTwo" in chat(recognized(KNOWN[case][1]).template, messages, think=True)


def test_thinking_can_be_switched_off() -> None:
    from tests.ollama.chat_templates.jinja import render

    jinja, messages = KNOWN["chatml of Qwen3"][1], conversation("One", "Two", "Three")
    template = recognized(jinja).template
    off = chat(template, messages, think=False)
    assert off == render(jinja, messages, enable_thinking=False)
    assert off.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert (
        chat(template, messages) == chat(template, messages, think=True) == off.removesuffix("<think>\n\n</think>\n\n")
    )


def test_a_prompt_may_open_a_thought_unless_it_is_switched_off() -> None:
    opens = KNOWN["chatml of Qwen3"][1].replace(
        "    {%- if enable_thinking is defined and enable_thinking is false %}",
        "    {%- if not enable_thinking is defined or enable_thinking %}{{ '<think>\\n' }}{% else %}",
    )
    template = recognized(opens).template
    assert chat(template, conversation("One")).endswith("<|im_start|>assistant\n<think>\n")
    assert chat(template, conversation("One"), think=False).endswith("assistant\n<think>\n\n</think>\n\n")


def test_a_mark_that_the_tokenizer_calls_bos_stays() -> None:
    for case in ("chatml", "chatml with a default"):
        jinja = KNOWN[case][1]
        assert recognize(jinja, bos="<|im_start|>", eos="<|im_end|>") == recognize(jinja)
    assert recognize("{{ bos_token }}" + CHATML, bos="<|start|>", eos="<|im_end|>") == recognize(CHATML)


def test_stops_are_no_ordinary_text() -> None:
    text = "Use <s>bold</s> here. USER: root\n### Response\nuser: a\nassistant: b [1] <b> {{ x }}\n## Instruction: do it\nSystem: ok"
    for _, jinja in KNOWN.values():
        stop = recognized(jinja).stop
        assert stop and all(word and word not in text for word in stop)


def test_stops_are_what_the_family_writes() -> None:
    for _, jinja in KNOWN.values():
        family = recognized(jinja)
        text = "\n" + chat(family.template, conversation("One", "Two", "Three", system="S")).replace(
            "</s>", "\n"
        ).replace(" ", "\n")
        assert any(word.replace(" ", "\n") in text for word in family.stop)


def test_a_family_is_frozen() -> None:
    family = recognized(CHATML)
    assert [field.name for field in dataclasses.fields(family)] == ["name", "template", "stop"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        family.name = "other"  # type: ignore[misc]


def test_braces_of_a_default_prompt_are_text() -> None:
    jinja = CHATML.replace("{% for", "{{ '<|im_start|>system\n{{ .X }}{%- {<|im_end|>\n' }}{% for", 1)
    jinja = "{% if messages[0].role == 'system' %}" + CHATML + "{% else %}" + jinja + "{% endif %}"
    family = recognized(jinja)
    assert chat(family.template, conversation("a")).startswith(
        "<|im_start|>system\n{{ .X }}{%- {<|im_end|>\n<|im_start|>user\na"
    )
    assert find_fault(family.template) is None


def test_a_system_message_between_the_others_is_not_lost() -> None:
    messages = conversation("One", "Two", "Three")
    messages.insert(2, {"role": "system", "content": "Be brief."})
    for _, jinja in KNOWN.values():
        assert chat(recognized(jinja).template, messages).count("Be brief.") == 1


def test_a_template_that_treats_later_messages_in_another_way_is_unknown() -> None:
    assert recognize(CHATML.replace("message['content']", "(message['content'] if loop.index < 5 else 'cut')")) is None
    assert recognize(MISTRAL_LAST.replace("BLANK", " ").replace("loop.last and", "loop.index == 3 and")) is None


@pytest.mark.parametrize("name", CONFIGS)
def test_a_published_template(name: str) -> None:
    path = DATA / "configs" / name / "tokenizer_config.json"
    if not path.exists():
        pytest.skip("shared data not at hand")
    config = json.loads(path.read_text())
    bos, eos = (_token(config.get(key)) for key in ("bos_token", "eos_token"))
    family = recognize(config["chat_template"], bos=bos, eos=eos)
    assert family is not None and family.name == CONFIGS[name]
    assert check_equal(config["chat_template"], family, bos, eos) >= 3
    assert recognized(config["chat_template"]).name == CONFIGS[name]


def test_no_published_template_is_left_out() -> None:
    if not DATA.exists():
        pytest.skip("shared data not at hand")
    paths = [*DATA.glob("configs/*/tokenizer_config.json"), *DATA.glob("tokenizers/*/tokenizer_config.json")]
    found = {path.parent.name for path in paths if json.loads(path.read_text()).get("chat_template")}
    assert found == {*CONFIGS, "phi-3"}
    phi3 = json.loads((DATA / "tokenizers/phi-3/tokenizer_config.json").read_text())["chat_template"]
    assert recognized(phi3).name == "phi3"


def _token(value: object) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")

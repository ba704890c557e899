"""Special tokens: ids, flags, chat templates."""

from __future__ import annotations

from typing import Any

from modelbuild.checkpoint.tokenizers.special import special_tokens
from tests.checkpoint.tokenizers.folders import folder, shown


def part(word: str) -> dict[str, Any]:
    return {"Sequence": {"id": word}} if word in ("A", "B") else {"SpecialToken": {"id": word}}


def flags(single: str, pair: str, **config: Any) -> dict[str, Any]:
    data = {
        "post_processor": {
            "type": "TemplateProcessing", "single": [part(w) for w in single.split()], "pair": [part(w) for w in pair.split()],
        },
        "added_tokens": [{"id": i, "content": w} for i, w in enumerate(("<s>", "</s>", "<x>"))],
    }  # fmt: skip
    return shown(special_tokens(folder(tokenizer_dot_json=data, tokenizer_config_dot_json=config)))


def test_flags_follow_the_template() -> None:
    both = {"bos_token": "<s>", "eos_token": "</s>"}
    ids = {"bos_token_id": 0, "eos_token_id": 1}
    assert flags("<s> A", "<s> A <s> B", **both) == ids | {"add_bos_token": True, "add_sep_token": False}
    assert flags("<s> A </s>", "<s> A </s> B </s>", **both) == ids | {
        "add_bos_token": True, "add_eos_token": True, "add_sep_token": False,
    }  # fmt: skip
    assert flags("<s> A", "<s> A </s> B", **both)["add_sep_token"] is True
    assert flags("<x> A", "<x> A B", cls_token="<s>", **both) == ids | {"add_bos_token": False}
    assert flags("A", "A B", **both) == ids


def test_a_token_that_ended_texts_becomes_the_one_that_ends_turns() -> None:
    found = flags("A <x>", "A B <x>", eos_token="</s>")
    assert found["eos_token_id"] == 2 and found["eot_token_id"] == 1 and found["add_eos_token"] is True


def test_flags_of_the_configuration_fill_what_the_template_leaves() -> None:
    found = flags("<s> A", "<s> A B", bos_token="<s>", add_bos_token=False, add_eos_token=False)
    assert (found["add_bos_token"], found["add_eos_token"]) == (True, False)


def test_ids_come_from_config_json_where_the_tokenizer_says_none() -> None:
    config = {"bos_token_id": 5, "eos_token_id": [6, 7], "pad_token_id": 99, "text_config": {"unk_token_id": 3}}
    found = shown(special_tokens(folder(config_dot_json=config), count=50))
    assert found == {"bos_token_id": 5, "unknown_token_id": 3}


def test_normalizer_flags() -> None:
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "NFC"}, {"type": "StripAccents"}]}
    found = shown(special_tokens(folder(tokenizer_dot_json={"normalizer": normalizer})))
    assert found == {"normalizer.lowercase": True, "normalizer.strip_accents": True}


def templates(**files: Any) -> dict[str, Any]:
    found = shown(special_tokens(folder(**{"tokenizer_config_dot_json": {"x": 1}, **files})))
    return {key.removeprefix("tokenizer."): value for key, value in found.items()}


def test_chat_templates() -> None:
    assert templates(tokenizer_config_dot_json={"chat_template": "T"}) == {"chat_template": "T"}
    assert templates(tokenizer_config_dot_json={"chat_template": None, "x": 1}, chat_template_dot_jinja=b"F") == {}
    assert templates(chat_template_dot_jinja=b"a\r\nb") == {"chat_template": "a\nb"}
    assert templates(chat_template_dot_json={"chat_template": "J"}) == {"chat_template": "J"}
    assert templates(chat_template_dot_jinja=b"a", tokenizer_config_dot_json={}) == {}
    named = [
        {"name": "default", "template": "D"},
        {"name": "tool use", "template": "U"},
        {"name": "x", "template": None},
    ]
    assert templates(tokenizer_config_dot_json={"chat_template": named}) == {
        "chat_template.tool_use": "U", "chat_templates": ["tool_use"], "chat_template": "D",
    }  # fmt: skip
    files = {"chat_template_dot_jinja": b"D", "additional_chat_templates_in_rag_dot_jinja": b"R"}
    assert templates(**files) == {"chat_template.rag": "R", "chat_templates": ["rag"], "chat_template": "D"}

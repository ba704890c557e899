"""Renderers and parsers are those that Ollama's importer of safetensors and its `create` choose; its names are known by release."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.ollama import renderers

FAMILIES = Path(__file__).parents[2] / "../shared/reference/families.md"
QWEN38 = "{{ resolved_reasoning_effort }}{{ preserve_thinking }}"

TABLE = {
    "MuseGlimmerForCausalLM": ("", "glimmer", "glimmer"),
    "muse_glimmer": ("", "glimmer", "glimmer"),
    "LagunaForCausalLM": ("", "laguna", "laguna"),
    "LagunaForCausalLM, its template of v8": ("laguna_glm_thinking_v8", "poolside-v1", "poolside-v1"),
    "Cohere2MoeForCausalLM": ("", "cohere", "cohere"),
    "cohere2_moe": ("", "cohere", "cohere"),
    "Gemma4ForConditionalGeneration": ("", "gemma4", "gemma4"),
    "Gemma4UnifiedForConditionalGeneration": ("", "gemma4", "gemma4"),
    "gemma4_text": ("", "gemma4", "gemma4"),
    "Glm4ForCausalLM": ("", "glm-4.7", "glm-4.7"),
    "Glm4MoeLiteForCausalLM": ("", "glm-4.7", "glm-4.7"),
    "DeepseekV3ForCausalLM": ("", "deepseek3.1", "deepseek3"),
    "Qwen3_5ForConditionalGeneration": ("", "qwen3.5", "qwen3.5"),
    "Qwen3_5MoeForCausalLM": ("{{ preserve_thinking }}", "qwen3.5", "qwen3.5"),
    "Qwen3_5ForCausalLM, with reasoning efforts": (QWEN38, "qwen3.8", "qwen3.5"),
    "Qwen3NextForCausalLM": ("", "qwen3.5", "qwen3.5"),
    "Qwen3VLForConditionalGeneration": ("", "qwen3-vl-instruct", "qwen3-vl-instruct"),
    "Qwen3VLMoeForConditionalGeneration, which thinks": ("<think>", "qwen3-vl-thinking", "qwen3-vl-thinking"),
    "Qwen3ForCausalLM": ("", "qwen3-coder", "qwen3"),
    "Qwen3MoeForCausalLM": ("", "qwen3-coder", "qwen3"),
    "NemotronHForCausalLM": ("", "nemotron-3-nano", "nemotron-3-nano"),
    "NemotronH_Nano_Omni_Reasoning_V3": ("{reasoning effort: efficient}", "nemotron-3.5-nano", "nemotron-3.5-nano"),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_checkpoint(case: str) -> None:
    template, renderer, parser = TABLE[case]
    found = renderers.of_checkpoint([case.partition(",")[0]], template)
    assert found is not None and (found.renderer, found.parser) == (renderer, parser)
    assert found.stop == (("<turn|>",) if renderer == "gemma4" else ())


@pytest.mark.parametrize(
    "template", ["User: {{ text }}\n\nAssistant:", "<|im_user|>user<|im_middle|>{{ text }}<|im_end|>"]
)
def test_a_deepseek_whose_turns_are_marked_otherwise(template: str) -> None:
    assert renderers.of_checkpoint(["DeepseekV3ForCausalLM", "deepseek_v3"], template) is None
    marked = renderers.of_checkpoint(["DeepseekV2ForCausalLM"], "<｜User｜>{{ text }}<｜Assistant｜>")
    assert marked is not None and marked.renderer == "deepseek3.1"


@pytest.mark.parametrize(
    "name",
    ["LlamaForCausalLM", "Qwen2ForCausalLM", "Gemma3ForCausalLM", "Gemma4AssistantForCausalLM", "", "x" * 10_000],
)
def test_a_checkpoint_that_has_none(name: str) -> None:
    assert renderers.of_checkpoint([name], QWEN38) is None


def test_the_first_kind_that_is_known_counts() -> None:
    found = renderers.of_checkpoint(["Odd", "qwen3", "gemma4"], "")
    assert found is not None and found.renderer == "qwen3-coder"


def test_a_gguf_file() -> None:
    assert renderers.of_gguf("gemma4") == renderers.Prompting("gemma4", "gemma4", ("<turn|>",))
    assert {renderers.of_gguf(name) for name in ("nemotron_h", "nemotron_h_moe", "nemotron_h_omni")} == {
        renderers.Prompting("nemotron-3-nano", "nemotron-3-nano")
    }
    assert renderers.of_gguf("qwen35") is None


def test_the_release_that_knows_both_names() -> None:
    assert renderers.requires({"renderer": "qwen3-coder", "parser": "qwen3"}) == "0.16.3"
    assert renderers.requires({"renderer": "qwen3.8", "parser": "qwen3.5"}) == "0.32.13"
    assert renderers.requires({"renderer": "glm-4.7"}) == "0.14.3"
    assert renderers.requires({"renderer": "odd", "parser": None}) is None


def test_every_name_that_is_chosen_has_its_release() -> None:
    for case, (template, renderer, parser) in TABLE.items():
        assert renderers.requires({"renderer": renderer}) and renderers.requires({"parser": parser}), (case, template)


def test_the_names_are_those_that_a_server_knows() -> None:
    if not FAMILIES.exists():
        pytest.skip("shared data not at hand")
    text = FAMILIES.read_text(encoding="utf-8")

    def named(line: str) -> set[str]:
        return set(text.partition(line)[2].partition("\n")[0].rstrip(".").split())

    assert set(renderers._RENDERERS) == named("Renderers that a server of 2026-08-21 knows: ")
    assert set(renderers._PARSERS) == named("\nParsers: ")

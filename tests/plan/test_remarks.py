"""What is worth knowing of a model: that servers send it the bare prompt, or render a template that we do not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelbuild.plan import remarks
from modelbuild.plan.plan import Plan
from tests.plan.test_plan import planned

WEIGHTS = '[model.m]\nfrom = "./weights"\n'
UNKNOWN = {"chat_template": "{{ messages }}"}


def plan(root: Path, toml: str = WEIGHTS, folder: str = "weights", card: str = "", **tokenizer: Any) -> Plan:
    config = {"architectures": ["LlamaForCausalLM"]}
    return planned(
        root,
        toml,
        {
            f"{folder}/config.json": json.dumps(config),
            f"{folder}/model.safetensors": b"x",
            f"{folder}/tokenizer_config.json": json.dumps(tokenizer),
            f"{folder}/README.md": card,
        },
    )


def test_a_model_without_any_template_is_told(tmp_path: Path) -> None:
    (remark,) = plan(tmp_path).remarks
    assert remark.labels == ("m",) and not remark.minor
    assert remark.error.what == "no TEMPLATE and no chat template: servers send the model the bare prompt"
    assert remark.error.path == str(tmp_path / "weights") and remark.error.facts == ()


def test_a_system_text_that_nothing_places_is_told_with_it(tmp_path: Path) -> None:
    (remark,) = plan(tmp_path, WEIGHTS + 'system = "Be brief."\n').remarks
    assert remark.error.facts == (("system and messages", "not sent at all"),)


@pytest.mark.parametrize(
    "line", ['template = "{{ .Prompt }}"', "template = false", 'renderer = "qwen3-coder"', 'metadata."tokenizer.chat_template" = "{{ x }}"']
)  # fmt: skip
def test_a_template_or_a_choice_ends_it(tmp_path: Path, line: str) -> None:
    found = plan(tmp_path, WEIGHTS + line + "\n").remarks
    assert [remark for remark in found if not remark.minor] == []


@pytest.mark.parametrize(
    ("folder", "card", "told"),
    [
        ("weights", "", True),
        ("tiny-base", "", False),
        ("gemma-3-1b-pt", "", False),
        ("tiny-base-chat", "", True),
        ("weights", "---\ntags: [pretrained]\n---\n", False),
        ("weights", "---\npipeline_tag: feature-extraction\n---\n", False),
        ("weights", "---\npipeline_tag: text-generation\n---\n", True),
        ("weights", "---\n: [\n---\n", True),
    ],
)
def test_what_is_no_chat_model_by_its_own_card_is_left_alone(
    tmp_path: Path, folder: str, card: str, told: bool
) -> None:
    assert bool(plan(tmp_path, WEIGHTS.replace("weights", folder), folder, card).remarks) is told
    # A system text is lost on it all the same.
    assert plan(tmp_path, WEIGHTS.replace("weights", folder) + 'system = "x"\n', folder, card).remarks


def test_models_of_the_same_weights_are_told_of_together(tmp_path: Path) -> None:
    toml = WEIGHTS + '[model.n]\nfrom = "m"\n[model.o]\nfrom = "m"\ntemplate = "{{ .Prompt }}"\n'
    (remark,) = plan(tmp_path, toml).remarks
    assert remark.labels == ("m", "n")
    (told,) = remarks.of([remark], {"n", "o"})
    assert told.error.facts == (("used by", "'n'"),)
    assert remarks.of([remark], {"o"}) == []


def test_a_chat_template_of_no_known_family_is_a_minor_remark(tmp_path: Path) -> None:
    (remark,) = plan(tmp_path, **UNKNOWN).remarks
    assert remark.minor and "belongs to no known family" in remark.error.what
    assert remark.error.path == str(tmp_path / "weights/tokenizer_config.json")

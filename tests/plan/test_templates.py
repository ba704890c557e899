"""The TEMPLATE of a model that stands on another, where an adapter brings a chat template of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.checkpoint.chat import Chat
from modelbuild.ollama import chat_templates, manifest
from modelbuild.plan.plan import Plan
from tests.plan.test_adapters import CHATML
from tests.plan.test_plan import gguf_file, library, planned

OTHER = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
LORA: dict[str, str | bytes] = {"lora/adapter_model.safetensors": b"x", "lora/chat_template.jinja": CHATML}
CHILD = '[model.b]\nfrom = "a"\nadapters = [{ path = "lora" }]\n'


def template(text: str) -> str:
    family = chat_templates.recognize(text)
    assert family is not None
    return family.template


def of(made: Plan, label: str, kind: str = "template") -> list[str]:
    """The parameters of the steps that make a variant's layers of a kind."""
    output = next(output for output in made.graph.outputs if output.label == label)
    steps = [made.graph.steps[name] for name in output.blobs]
    keys = {"template": '"recognized"', "params": '"parameters"', "text": '"text"'}
    return [step.parameters for step in steps if keys[kind] in step.parameters]


def weights(chat: str) -> dict[str, str | bytes]:
    return {"x.gguf": gguf_file(**{"tokenizer.chat_template": chat}), **LORA}


@pytest.mark.parametrize("mode", ["layer", "merge"])
def test_one_that_was_made_of_the_bases_weights_gives_way(mode: str, tmp_path: Path) -> None:
    assert template(CHATML) != template(OTHER)
    child = CHILD.replace('"lora"', f'"lora", mode = "{mode}"')
    made = planned(tmp_path, f'[model.a]\nfrom = "./x.gguf"\n{child}', weights(OTHER))
    assert "chat_template.jinja" in of(made, "b")[0] and "x.gguf" in of(made, "a")[0]
    assert "<|im_end|>" in of(made, "b", "params")[0] and "<|end|>" not in of(made, "b", "params")[0]
    assert not made.warnings


def test_the_same_chat_template_is_no_other(tmp_path: Path) -> None:
    made = planned(tmp_path, f'[model.a]\nfrom = "./x.gguf"\n{CHILD}', weights("{# ours #}" + CHATML))
    assert of(made, "a") == of(made, "b") and len(of(made, "a")) == 1


@pytest.mark.parametrize("said", ['template = "T"', "template = false"])
def test_one_that_the_base_has_said_stays(said: str, tmp_path: Path) -> None:
    made = planned(tmp_path, f'[model.a]\nfrom = "./x.gguf"\n{said}\n{CHILD}', weights(OTHER))
    assert of(made, "b") == []
    what = "model 'b': the adapter's chat template (chat_template.jinja) is not that of the base, whose TEMPLATE stays"
    assert [warning.what for warning in made.warnings] == [what] * ("T" in said)


def test_one_that_the_variant_says_stays_without_a_word(tmp_path: Path) -> None:
    made = planned(tmp_path, f'[model.a]\nfrom = "./x.gguf"\n{CHILD}template = "T"\n', weights(OTHER))
    assert of(made, "b") == [] and '{"text":"T"}' in of(made, "b", "text") and not made.warnings


def test_parameters_that_the_base_has_said_stay(tmp_path: Path) -> None:
    toml = f'[model.a]\nfrom = "./x.gguf"\nparameters = {{ stop = ["x"] }}\n{CHILD}'
    (params,) = of(planned(tmp_path, toml, weights(OTHER)), "b", "params")
    assert "<|im_end|>" not in params and '"x"' in params


def test_a_base_without_any_gets_one(tmp_path: Path) -> None:
    made = planned(tmp_path, f'[model.a]\nfrom = "./x.gguf"\n{CHILD}', {"x.gguf": gguf_file(), **LORA})
    assert of(made, "a") == [] and len(of(made, "b")) == 1


def test_an_unknown_one_leaves_none_rather_than_a_wrong_one(tmp_path: Path) -> None:
    files = {**weights(OTHER), "lora/chat_template.jinja": "{{ messages }}"}
    made = planned(tmp_path, f'[model.a]\nfrom = "./x.gguf"\n{CHILD}', files)
    assert of(made, "b") == []
    assert [remark.labels for remark in made.remarks] == [("b",)]


@pytest.mark.parametrize("derived", [True, False], ids=["derived", "said"])
def test_a_renderer_stands_over_any(derived: bool, tmp_path: Path) -> None:
    text = template(OTHER) if derived else "{{ .Prompt }} of somebody"
    model = gguf_file(**{"tokenizer.chat_template": OTHER})
    files = library(tmp_path, model=model, template=text.encode())
    made = planned(tmp_path, '[model.b]\nfrom = "base"\nadapters = [{ path = "lora" }]\n', {**files, **LORA})
    # Its config names a renderer, which stands over any TEMPLATE.
    assert len(made.warnings) == 1 and "whose renderer stays" in made.warnings[0].what


def test_a_template_of_a_models_folder_is_known_by_its_text() -> None:
    from modelbuild.plan import templates

    chat = Chat(OTHER, "x.gguf")
    found = templates.given(chat, template(OTHER), "step")
    assert found is not None and [each.media_type for each in found.layers] == [manifest.TEMPLATE]
    assert templates.given(chat, "other", "step") is None
    assert templates.given(chat, None, "") == templates.NONE

"""The TEMPLATE of a model that stands on another, where an adapter brings a chat template of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.checkpoint.chat import Chat
from modelbuild.ollama import chat_templates, manifest
from modelbuild.plan.plan import Plan
from modelbuild.plan.planned import config_of
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


# Renderers

QWEN35 = '{"architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5_text"}'


def config(made: Plan, label: str = "a") -> dict[str, object]:
    """The parameters of the step that makes a variant's config."""
    output = next(output for output in made.graph.outputs if output.label == label)
    return {
        key: value for key, value in config_of(made.graph, output).items() if key in ("renderer", "parser", "requires")
    }


def checkpoint(config: str, **files: str) -> dict[str, str | bytes]:
    return {"weights/config.json": config, "weights/model.safetensors": b"x"} | {
        f"weights/{name}": text for name, text in files.items()
    }


def of_weights(root: Path, more: str = "", files: dict[str, str | bytes] | None = None) -> Plan:
    return planned(root, f'[model.a]\nfrom = "./weights"\n{more}', files or checkpoint(QWEN35))


def test_a_checkpoint_has_the_renderer_of_its_class(tmp_path: Path) -> None:
    assert config(of_weights(tmp_path)) == {"renderer": "qwen3.5", "parser": "qwen3.5", "requires": "0.17.1"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ('renderer = ""', {}),
        ('template = "T"', {}),
        ("template = false", {}),
        ('renderer = "odd"', {"renderer": "odd", "parser": "qwen3.5", "requires": "0.17.1"}),
        ('renderer = "odd"\nparser = "odd"', {"renderer": "odd", "parser": "odd"}),
        ('parser = ""', {"renderer": "qwen3.5", "requires": "0.17.1"}),
        ('requires = "1.0.0"', {"renderer": "qwen3.5", "parser": "qwen3.5", "requires": "1.0.0"}),
        ('requires = ""', {"renderer": "qwen3.5", "parser": "qwen3.5"}),
        ('architecture = "Qwen3ForCausalLM"', {"renderer": "qwen3-coder", "parser": "qwen3", "requires": "0.16.3"}),
    ],
)
def test_what_a_variant_says_of_it(more: str, expected: dict[str, str], tmp_path: Path) -> None:
    assert config(of_weights(tmp_path, more)) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", {"renderer": "qwen3.5", "parser": "qwen3.5", "requires": "0.17.1"}),
        ('renderer = ""', {}),
        ('template = "T"', {}),
        ('renderer = "odd"', {"renderer": "odd", "parser": "qwen3.5", "requires": "0.17.1"}),
    ],
)
def test_what_a_model_that_is_based_on_it_says(more: str, expected: dict[str, str], tmp_path: Path) -> None:
    assert config(of_weights(tmp_path, f'[model.b]\nfrom = "a"\n{more}'), "b") == expected


def test_what_somebody_has_said_stays_beside_another_template(tmp_path: Path) -> None:
    made = of_weights(tmp_path, 'renderer = "odd"\nparser = "odd"\n[model.b]\nfrom = "a"\ntemplate = "T"')
    assert config(made, "b") == {"renderer": "odd", "parser": "odd"}


def test_a_model_of_vectors_or_scores_has_none(tmp_path: Path) -> None:
    qwen3 = QWEN35.replace("Qwen3_5", "Qwen3")
    for name, files in (
        ("x", checkpoint(qwen3, **{"modules.json": "[]"})),
        ("y", checkpoint(qwen3.replace("ForCausalLM", "ForSequenceClassification"))),
        ("z", checkpoint(qwen3.replace("{", '{"_name_or_path": "Qwen3-Embedding-0.6B", ', 1))),
    ):
        assert config(of_weights(tmp_path / name, files=files)) == {}


def test_an_adapter_that_was_trained_with_another_chat_template(tmp_path: Path) -> None:
    files = checkpoint(QWEN35, **{"chat_template.jinja": OTHER}) | LORA
    made = of_weights(tmp_path, 'adapters = [{ path = "lora" }]', files)
    assert config(made) == {} and len(of(made, "a")) == 1
    made = of_weights(tmp_path, CHILD, files)
    assert (config(made)["renderer"], config(made, "b")) == ("qwen3.5", {})


GEMMA4 = {"x.gguf": gguf_file(**{"general.architecture": "gemma4", "llama.block_count": 1})}


def test_a_gguf_file_is_filled_in_as_ollama_does(tmp_path: Path) -> None:
    made = planned(
        tmp_path / "x", '[model.a]\nfrom = "./x.gguf"\n[model.b]\nfrom = "a"\nparameters = { stop = ["x"] }', GEMMA4
    )
    assert config(made) == config(made, "b") == {"renderer": "gemma4", "parser": "gemma4"}
    assert of(made, "a", "params") == ['{"parameters":{"stop":["<turn|>"]}}']
    assert of(made, "b", "params") == ['{"parameters":{"stop":["x"]}}']
    made = planned(tmp_path / "y", '[model.a]\nfrom = "./x.gguf"\nrenderer = ""', GEMMA4)
    assert config(made) == {} and of(made, "a", "params") == []


def test_a_template_that_ollama_does_not_use_is_a_warning(tmp_path: Path) -> None:
    made = planned(tmp_path / "x", '[model.a]\nfrom = "./x.gguf"\ntemplate = "T"', GEMMA4)
    assert config(made) == {"renderer": "gemma4", "parser": "gemma4"}
    assert [warning.what for warning in made.warnings] == [
        "model 'a': Ollama does not use this TEMPLATE: RENDERER gemma4 makes the prompts"
    ]
    made = planned(tmp_path / "y", '[model.a]\nfrom = "./x.gguf"\ntemplate = "T"\nrenderer = ""', GEMMA4)
    assert config(made) == {} and not made.warnings


def test_an_installed_model_is_filled_in_too(tmp_path: Path) -> None:
    made = planned(tmp_path, '[model.a]\nfrom = "base"', library(tmp_path, family="gemma4"))
    assert config(made) == {"renderer": "odd", "parser": "gemma4"}
    assert of(made, "a", "params") == ['{"parameters":{"stop":["<turn|>"]}}']


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('renderer = "qwen3.5"\nparser = "qwen3.5"', []),
        ('renderer = "qwen35"', ["unknown renderer 'qwen35'"]),
        ('parser = "qwen3_5"', ["unknown parser 'qwen3_5'"]),
        ('renderer = ""', []),
    ],
)
def test_a_renderer_that_nobody_knows_may_be_a_typo(said: str, expected: list[str], tmp_path: Path) -> None:
    found = of_weights(tmp_path, said).warnings
    assert [each.what.rpartition(": ")[2] for each in found] == expected
    assert [each.hint for each in found] == ["did you mean 'qwen3.5'?"] * len(expected)


@pytest.mark.parametrize(
    ("toml", "warns"),
    [
        ('[model.a]\nfrom = "base"\nrenderer = "qwen3.5"\ntemplate = "T"', True),
        ('[model.a]\nfrom = "base"\ntemplate = "T"', True),
        ('[model.a]\nfrom = "base"\nrenderer = ""\ntemplate = "T"', False),
        ('[defaults]\ntemplate = "T"\n[model.a]\nfrom = "base"\nrenderer = "qwen3.5"', False),
        ('[defaults]\ntemplate = "T"\nrenderer = "qwen3.5"\n[model.a]\nfrom = "base"', True),
    ],
)
def test_a_template_beside_a_renderer_has_no_effect_and_that_is_said(toml: str, warns: bool, tmp_path: Path) -> None:
    found = planned(tmp_path, toml, library(tmp_path)).warnings
    assert [("Ollama does not use this TEMPLATE" in each.what) for each in found] == [True] * warns

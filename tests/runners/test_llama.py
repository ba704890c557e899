"""What llama.cpp is asked: the template that the model declares, and parameters as Ollama means them."""

from __future__ import annotations

from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.chat_templates import recognize
from modelbuild.runners import Full, Model, Piece, Timing, _llama
from tests.ollama.chat_templates.templates import CHATML

TEMPLATE = "{{ .System }}|{{ .Prompt }}|{{ .Response }}"
DEFINES = '{{ define "x" }}x{{ end }}{{ .Prompt }}'


def model(**fields: Any) -> Model:
    return Model("m:latest", "0" * 64, "/weights", **fields)


def test_the_template_of_the_model_makes_the_prompt() -> None:
    found = model(
        template=TEMPLATE, chat=(CHATML, "<s>", "</s>"), system="S", messages=[("user", "a"), ("assistant", "b")]
    )
    way = _llama.way(found)
    assert (way.about, way.warnings) == ("TEMPLATE makes the prompts", ())
    where, body = _llama.request(found, way, [("user", "c")])
    assert (where, body["prompt"]) == (_llama.COMPLETE, "S|a|b|c|")


def test_the_chat_template_of_the_weights_serves_where_it_is_the_same() -> None:
    family = recognize(CHATML)
    assert family is not None
    for found in (
        model(template=family.template, chat=(CHATML, "<s>", "</s>"), system="S"),
        model(chat=(CHATML, "", ""), system="S"),
    ):
        where, body = _llama.request(found, _llama.way(found), [("user", "c")])
        assert where == _llama.CHAT
        assert body["messages"] == [{"role": "system", "content": "S"}, {"role": "user", "content": "c"}]


def test_a_template_that_is_not_carried_out_is_said() -> None:
    way = _llama.way(model(template=DEFINES, chat=(CHATML, "", "")))
    assert way.template is None
    assert [warning.what for warning in way.warnings] == [
        "the TEMPLATE of 'm:latest' uses 'define', which only Ollama carries out: the chat template of the weights is used instead"
    ]
    with pytest.raises(Error, match="which only Ollama carries out") as caught:
        _llama.way(model(template=DEFINES))
    assert caught.value.hint == "run it with Ollama: `ollama run m:latest`"
    with pytest.raises(Error, match="is not a Go template"):
        _llama.way(model(template="{{ if }}"))


def test_a_renderer_is_ollamas() -> None:
    way = _llama.way(model(template=TEMPLATE, renderer="gemma4", chat=(CHATML, "", "")))
    assert way.template is None and "RENDERER gemma4" in way.about
    with pytest.raises(Error, match="no chat template"):
        _llama.way(model(renderer="gemma4"))


def test_a_model_without_a_template_goes_on_with_the_text() -> None:
    found = model(system="S")
    way = _llama.way(found)
    assert "its SYSTEM has no effect" in way.warnings[0].what
    assert _llama.request(found, way, [("user", "Once")])[1]["prompt"] == "Once"
    assert _llama.way(model()).warnings == []


def test_parameters_are_those_of_ollama() -> None:
    body = _llama.options(model())
    assert body == {
        "temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "typical_p": 1.0, "repeat_last_n": 64,
        "repeat_penalty": 1.1, "presence_penalty": 0.0, "frequency_penalty": 0.0, "n_predict": -1, "n_keep": 4,
    }  # fmt: skip
    given = {"temperature": 0, "seed": 7, "stop": ["x"], "num_predict": 5, "num_ctx": 99, "use_mmap": True}
    found = model(parameters=given)
    assert {"temperature": 0, "seed": 7, "stop": ["x"], "n_predict": 5}.items() <= _llama.options(found).items()
    assert "seed" not in _llama.options(model(parameters={"seed": -1}))
    assert _llama.about(found, _llama.Way("As it is", None)) == "As it is; no effect here: use_mmap"
    assert _llama.about(model(), _llama.Way("As it is", None)) == "As it is"


@pytest.mark.parametrize(
    ("asked", "trained", "expected"),
    [(None, 512, 512), (None, 0, 4096), (None, 1 << 17, 4096), (8192, 512, 512), (64, 512, 64)],
)
def test_the_context_is_never_larger_than_what_was_trained(asked: int | None, trained: int, expected: int) -> None:
    parameters = {} if asked is None else {"num_ctx": asked}
    assert _llama.context(model(parameters=parameters, context=trained)) == expected


def test_negative_numbers_mean_what_they_mean_to_ollama() -> None:
    found = model(parameters={"num_predict": -2, "repeat_last_n": -1, "num_ctx": -5}, context=64)
    assert _llama.context(found) == 4
    assert _llama.options(found)["n_predict"] == -1 and _llama.options(found)["repeat_last_n"] == 4


def test_events() -> None:
    event = {"choices": [{"delta": {"reasoning_content": "Hm", "content": "A"}}, {"text": "B"}]}
    assert list(_llama.pieces(event)) == [Piece("thought", "Hm"), Piece("answer", "A"), Piece("answer", "B")]
    assert list(_llama.pieces({"choices": None})) == []
    timings = {"prompt_n": 5, "prompt_ms": 10.0, "predicted_n": 3, "predicted_ms": 20}
    assert _llama.timing({"timings": timings}) == Timing(5, 0.01, 3, 0.02)
    assert _llama.timing({"timings": "x"}) is None
    with pytest.raises(Full, match="9 tokens, of 8"):
        list(_llama.pieces({"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}}))
    with pytest.raises(Error, match=r"llama\.cpp: roles"):
        list(_llama.pieces({"error": {"message": "roles must alternate"}}))

"""Sentences about a build."""

from __future__ import annotations

from modelbuild.cli.sentences import because, forecasts, nothing_to_do, summed_up, taken
from modelbuild.plan.needs import FileToBe
from modelbuild.session.forecast import Forecast

NOTHING = {
    "ran": 0,
    "hit": 0,
    "failed": 0,
    "skipped": 0,
    "tensors_computed": 0,
    "tensors_reused": 0,
    "bytes_written": 0,
}


def test_only_published_counts_as_built() -> None:
    assert summed_up(NOTHING, 3, 1, 0.1) == "1 model built in 0.10 s: 0 steps ran"


def test_what_failed_outside_a_step_is_not_called_nothing_to_do() -> None:
    found = summed_up({**NOTHING, "hit": 3}, 3, 0, 0.1, failed=True)
    assert found == "failed after 0.10 s: 0 steps ran, 3 found made"


def test_one_model_is_and_several_are() -> None:
    assert nothing_to_do(1, 0.5) == "nothing to do: 1 model is up to date (0.50 s)"
    assert nothing_to_do(2, 0.5) == "nothing to do: 2 models are up to date (0.50 s)"


def test_reasons_of_a_step_name_the_field_and_the_change() -> None:
    new = {"field": "step", "before": "", "after": ""}
    lost = {"field": "artifact", "before": "", "after": "what it made is gone"}
    version = {"field": "version", "before": "1", "after": "2"}
    assert because("a/convert", [new, lost, version], "would run") == [
        "a/convert would run because",
        "  it was never built",
        "  what it made is gone",
        "  version: 1 -> 2",
    ]


def test_names_that_another_project_wrote_are_one_warning_a_project() -> None:
    name = "registry.ollama.ai/library/{}/latest"
    names = {name.format("a"): "/p/ModelBuild.toml", name.format("b"): "/p/ModelBuild.toml", name.format("c"): "/q"}
    first, second = taken(names, "/models")
    assert first.what.startswith("'a:latest', 'b:latest' are written by another project too")
    assert first.facts == (("project", "/p/ModelBuild.toml"), ("models", "/models"))
    assert second.what.startswith("'c:latest' is written by another project too")


def test_forecasts_are_a_table_or_every_tensor_of_each_model() -> None:
    file = FileToBe("xxh3:0", 2048, 0, ("norm", "q", "k"), ("f32", "q8_0", "q8_0"), ((8,), (8, 32), (8, 32)))
    models = [Forecast("chat", "chat:latest", 2048, file), Forecast("served", "served:latest", None, None)]
    (table,) = forecasts(models, verbose=False)
    assert [line.split() for line in table.split("\n")][1][0] == "chat:latest"
    assert table.endswith("2 q8_0, 1 f32") and "served" not in table
    head, tensors = forecasts(models, verbose=True)
    assert head.startswith("chat:latest  ")
    assert tensors.split("\n")[-1].split() == ["k", "q8_0", "8", "×", "32"]
    assert forecasts(models[1:], verbose=False) == []

"""Sentences about a build."""

from __future__ import annotations

from modelbuild.cli.sentences import (
    Outcome,
    because,
    caused,
    exchanged,
    forecasts,
    nothing_to_do,
    of_remote,
    summed_up,
    taken,
)
from modelbuild.engine.standing import FORCED
from modelbuild.plan.needs import FileToBe
from modelbuild.session.forecast import Forecast
from modelbuild.session.why import NEVER, Cause

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
    found = summed_up(NOTHING, Outcome(["a"], ["b", "c"]), 0.1)
    assert found == "1 model built, 2 unchanged (0.10 s; 0 steps run)"


def test_what_only_went_into_files_is_written() -> None:
    assert summed_up(NOTHING, Outcome((), ["c"], written=["a", "b"]), 0.1).startswith("2 models written, 1 unchanged (")
    assert str(Outcome(["a"], written=["b"])) == "1 model built, 1 written"
    assert str(Outcome(failed=["a"], written=["b"])) == "1 written, 1 failed: a"


def test_steps_that_change_no_model_are_told_apart_from_nothing_to_do() -> None:
    ran = {**NOTHING, "ran": 5}
    assert summed_up(ran, Outcome((), ["a", "b"]), 0.1) == "2 models rebuilt, none changed (0.10 s; 5 steps run)"
    assert summed_up(ran, Outcome((), ["a"]), 0.1) == "1 model rebuilt, unchanged (0.10 s; 5 steps run)"
    assert summed_up({**NOTHING, "hit": 9}, Outcome((), ["a", "b"]), 0.1) == nothing_to_do(2, 0.1)


def test_models_that_failed_are_named_and_those_not_tried_counted() -> None:
    outcome = Outcome(["a"], ["u"], ["b", "c"], ["d", "e", "f"])
    counts = {**NOTHING, "ran": 9, "hit": 3, "failed": 2, "bytes_written": 2_100_000}
    assert summed_up(counts, outcome, 0.31) == (
        "1 built, 1 unchanged, 3 skipped, 2 failed: b, c (0.31 s; 9 steps run, 3 cached, 2 failed, 2.1 MB written)"
    )


def test_what_failed_outside_a_step_is_not_called_nothing_to_do() -> None:
    found = summed_up({**NOTHING, "hit": 3}, Outcome(), 0.1, failed=True)
    assert found == "failed (0.10 s; 0 steps run, 3 cached)"


def test_nothing_to_do_counts_the_models() -> None:
    assert nothing_to_do(1, 0.5) == "nothing to do: 1 model unchanged (0.50 s)"
    assert nothing_to_do(1200, 0.5) == "nothing to do: 1,200 models unchanged (0.50 s)"


def test_causes_are_sentences() -> None:
    assert caused(NEVER) == "it was never built"
    assert caused(Cause(FORCED, "")) == "--force asks for it"
    assert caused(Cause("the weights", "have not been read yet")) == "the weights have not been read yet"
    assert (
        caused(Cause("quantize", "changed", "m.toml:3:1", "q8_0", "q4_K_M"))
        == "quantize changed: m.toml:3:1 (q8_0 -> q4_K_M)"
    )
    assert caused(Cause("renderer", "is new", "", "", "x")) == "renderer is new (x)"
    assert caused(Cause("system", "was removed", "Modelfile")) == "system was removed: Modelfile"
    assert caused(Cause("chat/system", "changed", step="chat/system")) == "the system text changed"
    assert caused(Cause("a", "may change", step="chat:small/license-2")) == "the license may change"
    assert caused(Cause("a", "is new", step="chat/params")) == "the parameters are new"
    assert caused(Cause("a", "was removed", step="chat/messages")) == "the messages were removed"
    assert caused(Cause("a", "changed", step="some/step")) == "some/step changed"
    assert caused(Cause("/w/(a) b/README.md", "is new", "/w/(a) b/README.md")) == "/w/(a) b/README.md is new"
    assert caused(Cause("/w/x", "changed", "/w/x", after="1 of 2 tensors: a")) == "/w/x changed (1 of 2 tensors: a)"


def test_a_cause_that_comes_twice_is_said_once() -> None:
    assert because("a/manifest", [NEVER, NEVER], "may run") == ["a/manifest may run because", "  it was never built"]


def test_names_that_another_project_wrote_are_one_warning_a_project() -> None:
    name = "registry.ollama.ai/library/{}/latest"
    names = {name.format("a"): "/p/ModelBuild.toml", name.format("b"): "/p/ModelBuild.toml", name.format("c"): "/q"}
    first, second = taken(names, "/models")
    assert first.what.startswith("'a:latest', 'b:latest' are also written by another project")
    assert first.facts == (("project", "/p/ModelBuild.toml"), ("models", "/models"))
    assert second.what.startswith("'c:latest' is also written by another project")


def test_forecasts_are_a_table_or_every_tensor_of_each_model() -> None:
    file = FileToBe("xxh3:0", 2048, 0, ("norm", "q", "k"), ("f32", "q8_0", "q8_0"), ((8,), (8, 32), (8, 32)))
    models = [Forecast("chat", "chat:latest", 2048, file), Forecast("served", "served:latest", None, None)]
    (table,) = forecasts(models, verbose=False, width=None)
    assert [line.split() for line in table.split("\n")][1][0] == "chat:latest"
    assert table.endswith("2 q8_0, 1 f32") and "served" not in table
    head, tensors = forecasts(models, verbose=True, width=None)
    assert head.startswith("chat:latest  ")
    assert tensors.split("\n")[-1].split() == ["k", "q8_0", "8", "×", "32"]
    assert forecasts(models[1:], verbose=False, width=None) == []


def test_what_was_exchanged_with_a_remote_cache() -> None:
    counts = {"fetched": 1, "bytes_fetched": 812_000_000, "sent": 2, "bytes_sent": 0, "left": 0}
    assert exchanged(counts) == "remote cache: 1 result fetched (812 MB), 2 sent (0 B)"
    assert exchanged({**counts, "fetched": 0, "sent": 0, "left": 3}).startswith("remote cache: 3 not sent")
    told = of_remote({"event": "remote-lost", "direction": "read", "error": "error: 'host' does not answer"})
    assert told == "the remote cache is no longer asked in this build: 'host' does not answer"

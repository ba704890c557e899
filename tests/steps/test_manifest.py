"""The step that makes the manifest: digests and sizes of its inputs, in order."""

from __future__ import annotations

from modelbuild.ollama.manifest import CONFIG, MODEL, SYSTEM, Manifest
from modelbuild.steps import manifest
from tests.steps.inputs import Given


def test_layers_are_the_inputs_with_the_names_of_their_bases() -> None:
    inputs = Given(**{"config": b"{}", "0": b"GGUF", "1": b"S"})
    made = Manifest.parse(manifest.run({"layers": [(MODEL, "a:latest"), (SYSTEM, "")]}, inputs))
    assert (made.config.media_type, made.config.digest, made.config.size) == (
        CONFIG,
        inputs.entry("config").artifact,
        2,
    )
    assert [(layer.media_type, layer.digest, layer.size, layer.from_) for layer in made.layers] == [
        (MODEL, inputs.entry("0").artifact, 4, "a:latest"),
        (SYSTEM, inputs.entry("1").artifact, 1, None),
    ]

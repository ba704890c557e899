"""Keys that travel: the same for the same contents, wherever they lie, and another for all else."""

from __future__ import annotations

from collections.abc import Mapping

from modelbuild.engine.action import ABSENT, Action
from modelbuild.engine.graph import Source, Step
from modelbuild.sharing.keys import Keys

RECIPE = "sha256:" + "1" * 64


def keys(files: Mapping[str, str | None], folder: str = "/a", recipe: str = RECIPE) -> list[str | None]:
    """The keys of a conversion, of what quantizes it, and of the layer, by the sha256 of the files (None: unknown)."""
    weights = Source(f"{folder}/w", "safetensors")
    convert = Step(
        f"{folder}/convert", "convert", 1, "{}", (("config.json", Source(f"{folder}/c", "bytes")), ("w", weights))
    )
    quantize = Step(f"{folder}/quantize", "quantize", 1, "{}", (("recipe", convert.name),))
    layer = Step(f"{folder}/layer", "layer", 1, "{}", (("recipe", quantize.name),), final=True)
    manifest = Step(f"{folder}/manifest", "manifest", 1, "{}", (("0", layer.name),))
    made = Keys(lambda source, digest: files[source.path.rpartition("/")[2]])
    actions = [
        (convert, Action("convert", 1, "{}", (("config.json", "xxh3:c"), ("w", "xxh3:w")))),
        (quantize, Action("quantize", 1, "{}", (("recipe", recipe),))),
        (layer, Action("layer", 1, "{}", (("recipe", recipe),))),
        (manifest, Action("manifest", 1, "{}", (("0", "sha256:l"),))),
    ]
    for step, action in actions:
        made.learn({step: action})
    return [made.key(action.digest) for _, action in actions]


def test_no_path_is_in_them() -> None:
    here = keys({"c": "sha256:1", "w": "sha256:2"})
    assert here == keys({"c": "sha256:1", "w": "sha256:2"}, "/else/where")
    assert len({*here}) == 4 and None not in here


def test_what_two_weights_of_one_xxh3_would_become_does_not_meet() -> None:
    one, other = (keys({"c": "sha256:1", "w": weights}) for weights in ("sha256:2", "sha256:3"))
    assert not {*one[:3]} & {*other[:3]}
    # A finished layer is whole: which weights it came from no longer counts.
    assert one[3] == other[3]


def test_what_does_not_change_the_recipe_does_not_change_what_is_made_of_it() -> None:
    one, other = (keys({"c": config, "w": "sha256:2"}) for config in ("sha256:1", "sha256:9"))
    assert one[0] != other[0] and one[1:] == other[1:]


def test_without_the_contents_of_weights_there_is_none() -> None:
    assert keys({"c": "sha256:1", "w": None})[:3] == [None, None, None]


def test_a_file_that_is_not_there_counts_as_such() -> None:
    made = Keys(lambda source, digest: None)
    step = Step("s", "config", 1, "{}", (("license", Source("/l", "bytes")),))
    action = Action("config", 1, "{}", (("license", ABSENT),))
    made.learn({step: action})
    assert made.key(action.digest) is not None
    assert made.key("sha256:unheard") is None

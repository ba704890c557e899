"""A planned model: its layers, and everything that models based on it inherit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelbuild.checkpoint.chat import Chat
from modelbuild.engine.graph import Source
from modelbuild.ollama import manifest as media
from modelbuild.plan.remarks import Bare
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.plan.weights import CheckpointFolder
    from modelbuild.project.lock import Outside


class LayerStep(NamedTuple):
    """A layer by the step that makes its blob, and the base it comes from, as Ollama displays it."""

    media_type: str
    step: str
    origin: str = ""


class Derived(NamedTuple):
    """What follows from weights and their chat template: a TEMPLATE's text and layer, parameters, and a renderer with its parser.

    The template is empty where the chat template is an unknown one.
    """

    template: str
    layers: tuple[LayerStep, ...]
    parameters: Mapping[str, Any]
    config: Mapping[str, str] = {}


class Base(NamedTuple):
    """A model as it is planned, for itself and for those that are FROM it: layers, and what else is inherited.

    recipe      the step that makes the recipe of the model layer, before quantization
    finished    the step that makes the recipe of the model layer as it is
    config      fields of the base's config that a model without a recipe takes over
    unquantized whether the weights are floats, which is what `defaults.quantize` is for
    restored    the step that makes the recipe of the checkpoint that it is made from, where that may be asked for
    whole       the GGUF file that is the model layer if nothing is done to it
    bare        what its weights are, where they give no TEMPLATE and nobody said that none is wanted
    outside     the model or repository of elsewhere that it comes from
    chat        the chat template of the weights, or of an adapter that is on them
    derived     what followed from that; None where a TEMPLATE was said
    mtp         `drop`: the weights are without the blocks for the prediction of several tokens that their checkpoint has
    draft       the step that makes the recipe of its draft, unquantized, where a checkpoint gives one
    drafted     the step that makes the recipe of this draft as it is
    folder      the checkpoint that the weights come from, where they come from one
    foreign     the step of the tool that made the weights
    measured    the step that makes the recipe that is measured: `recipe`, without metadata that no runtime computes with
    clip        the metadata that the project sets in the projector of the checkpoint
    gates       the steps that must let the model through before it is published

    A model layer that is to be made of a recipe or a file has no step yet: which one depends on whether it is quantized.
    """

    layers: tuple[LayerStep, ...]
    recipe: str | None
    finished: str | None
    config: Mapping[str, Any]
    parameters: Mapping[str, Any]
    unquantized: bool
    whole: str | None = None
    bare: Bare | None = None
    restored: str | None = None
    outside: Outside | None = None
    chat: Chat | None = None
    derived: Derived | None = None
    mtp: str | None = None
    draft: str | None = None
    drafted: str | None = None
    folder: CheckpointFolder | None = None
    foreign: str | None = None
    measured: str | None = None
    clip: Mapping[str, Any] = {}
    gates: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[tuple[str, Source], ...]:
        """The files of the checkpoint."""
        return self.folder.files if self.folder else ()

    def with_model(self, model: LayerStep) -> tuple[LayerStep, ...]:
        """The layers with another for the model's."""
        return tuple(model if each.media_type == media.MODEL else each for each in self.layers)

    def made_of(self, recipe: str, finished: str) -> Base:
        """The same model, its layer to be made of another recipe."""
        layers = self.with_model(LayerStep(media.MODEL, ""))
        config = without_model(self.config)
        return self._replace(layers=layers, recipe=recipe, finished=finished, config=config, whole=None)


def without_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of an inherited config when the model layer is replaced."""
    return {key: value for key, value in config.items() if key != "base"}

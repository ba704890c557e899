"""The TEMPLATE and the renderer that follow from weights: from their chat template, or an adapter's, and from their class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelbuild.checkpoint.chat import Chat
from modelbuild.errors import Error
from modelbuild.ollama import manifest as media
from modelbuild.ollama import renderers
from modelbuild.plan.declared import Declared
from modelbuild.plan.layers import Base, Derived, LayerStep
from modelbuild.plan.remarks import Bare, Prompts
from modelbuild.project.project import is_shared
from modelbuild.project.variant import Variant
from modelbuild.steps import layer

if TYPE_CHECKING:
    from modelbuild.checkpoint.ggufs import Contents
    from modelbuild.ollama.chat_templates import Family
    from modelbuild.plan.adapters import Adapters
    from modelbuild.plan.pulled import Pulled
    from modelbuild.plan.weights import CheckpointFolder

NONE = Derived("", (), {})


class Templates:
    """Makes templates of chat templates. `warnings` are of adapters whose chat templates are not taken."""

    def __init__(self, adapters: Callable[[], Adapters], declared: Declared) -> None:
        self._adapters = adapters
        self._declared = declared
        self.warnings: list[Error] = []

    def of_adapters(self, variant: Variant) -> Chat | None:
        """The chat template that the adapters of a variant bring along."""
        return self._adapters().chat(variant) if variant.adapters else None

    def of_checkpoint(self, variant: Variant, folder: CheckpointFolder, kinds: Collection[str]) -> Derived:
        """What follows from a checkpoint that is read as the classes of `kinds`.

        A template of the variant's own, and `template = false`, stand against all of it.
        """
        made = self._of_chat(variant, folder.chat)
        chat = self.of_adapters(variant)
        if _is_said(variant) or (chat is not None and not _same(chat, folder.chat)):
            return made
        text = variant.metadata.get("tokenizer.chat_template")
        template = text if isinstance(text, str) else folder.chat.template if folder.chat else ""
        return _prompted(variant, made, renderers.of_checkpoint(kinds, template), dated=True)

    def of_gguf(self, variant: Variant, model: Contents) -> Derived:
        """What follows from a GGUF file; its renderer as `ollama create` fills it in, whatever the TEMPLATE."""
        prompting = renderers.of_gguf(model.architecture)
        return _prompted(variant, self._of_chat(variant, model.chat), prompting)

    def _of_chat(self, variant: Variant, found: Chat | None) -> Derived:
        """What follows from the weights' chat template, where it is one that we know."""
        if _is_said(variant):
            return NONE
        found = self.of_adapters(variant) or found
        if text := variant.metadata.get("tokenizer.chat_template"):
            found = found._replace(template=text, file="metadata") if found else Chat(text, "metadata")
        if found is None or variant.metadata.get("tokenizer.chat_template") == "":
            return NONE
        family = _family(found)
        if family is None:
            return NONE
        how = f"{family.name}, recognized from {found.file}"
        values = layer.Parameters(text=family.template, recognized=how)
        made = self._declared.step(variant, layer, values, what="template")
        parameters = {"stop": list(family.stop)} if family.stop else {}
        return Derived(family.template, (LayerStep(media.TEMPLATE, made),), parameters)

    def over(self, variant: Variant, base: Base) -> Base:
        """A model that a variant is based on, as the chat template of the variant's adapters makes it.

        A TEMPLATE or a renderer that somebody has said stays, with a warning; one that follows from the base's own
        chat template gives way.
        """
        chat = self.of_adapters(variant)
        if chat is None or _is_said(variant) or _same(chat, base.chat):
            return base
        old = base.derived or NONE
        here = tuple(each for each in base.layers if each.media_type == media.TEMPLATE)
        given = bool(here) and (
            base.derived is None or [each.step for each in here] != [each.step for each in old.layers]
        )
        renders = "renderer" in base.config and "renderer" not in old.config
        if given or (not here and base.derived is None) or renders:
            if here or renders:
                self.warnings.append(self._stays(variant, chat, "renderer" if renders else "TEMPLATE"))
            return base
        new = self._of_chat(variant, base.chat)
        kept = {key: value for key, value in base.parameters.items() if old.parameters.get(key) != value}
        layers = tuple(each for each in base.layers if each.media_type != media.TEMPLATE)
        bare = base.bare or Bare(chat.file, chat.file, True)
        parameters = {**new.parameters, **kept}
        base = base._replace(config=_without(base.config, old.config))
        return base._replace(layers=layers + new.layers, parameters=parameters, chat=chat, derived=new, bare=bare)

    def _stays(self, variant: Variant, chat: Chat, what: str) -> Error:
        place = next(each.place for each in variant.adapters[::-1] if self._adapters().read(each).tokens)
        return place.error(
            f"the adapter's chat template ({chat.file}) is not that of the base, whose {what} stays",
            hint="if the adapter was trained with its own, set `template` as well",
        )


def inherited(variant: Variant, base: Base) -> dict[str, Any]:
    """The config that a variant takes over. A TEMPLATE of its own is stronger than the renderer of a checkpoint's class."""
    config = {key: value for key, value in base.config.items() if key not in variant.cleared}
    gives_way = "renderer" in variant.cleared or (_is_said(variant) and base.folder is not None)
    return _without(config, base.derived.config) if gives_way and base.derived else config


def doubts(variant: Variant, config: Mapping[str, Any]) -> Iterator[Error]:
    """Warnings about a renderer and a parser that a variant says, and about a TEMPLATE beside the renderer of its `config`."""
    for key in ("renderer", "parser"):
        if (name := variant.string(key)) and (warning := renderers.unknown(key, name)):
            yield variant.place(key).placed(warning)
    place, renderer = variant.place("template"), config.get("renderer")
    if not renderer or not variant.string("template"):
        return
    # Of what many models share, a renderer of one's own may be the exception.
    own = variant.string("renderer") is not None
    if not is_shared(place) or (own and is_shared(variant.place("renderer"))):
        yield place.error(
            f"Ollama does not use this TEMPLATE: RENDERER {renderer} makes the prompts",
            hint="remove one of the two" if own else 'to have the template used, set renderer = "" in ModelBuild.toml',
            value=False,
        )


def of_pulled(variant: Variant, model: Pulled) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The config and the parameters that a model hands down, with those that `ollama create` fills in for its architecture."""
    own = {key: model.config[key] for key in ("renderer", "parser") if key in model.config}
    prompting = renderers.of_gguf(str(model.config["base"].get("model_family")))
    if prompting is None or len(own) == 2 or "renderer" in variant.cleared:
        return dict(model.config), model.parameters
    stop = {"stop": list(prompting.stop)} if prompting.stop else {}
    both = {"renderer": prompting.renderer, "parser": prompting.parser}
    return {**both, **model.config}, {**model.parameters, **stop}


def _without(config: Mapping[str, Any], derived: Mapping[str, str]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if derived.get(key) != value}


def _prompted(variant: Variant, made: Derived, prompting: renderers.Prompting | None, dated: bool = False) -> Derived:
    """With a renderer and its parser, where the variant says none; `dated`: with the release of Ollama that knows them."""
    if prompting is None or "renderer" in variant.cleared:
        return made
    both = {"renderer": prompting.renderer, "parser": prompting.parser}
    config = {key: name for key, name in both.items() if variant.string(key) is None and key not in variant.cleared}
    final = {key: variant.string(key) or name for key, name in both.items()}
    if config and dated and (since := renderers.requires(final)):
        config["requires"] = since
    stop = {"stop": list(prompting.stop)} if prompting.stop else {}
    return made._replace(config=config, parameters={**made.parameters, **stop})


def given(chat: Chat | None, text: str | None, step: str) -> Derived | None:
    """A TEMPLATE of a models folder as one that was made of the weights' chat template; None where it says something else."""
    if text is None:
        return NONE
    family = _family(chat) if chat is not None else None
    if family is None or family.template != text:
        return None
    parameters = {"stop": list(family.stop)} if family.stop else {}
    return Derived(family.template, (LayerStep(media.TEMPLATE, step),), parameters)


def bare(variant: Variant, found: Bare) -> Bare | None:
    """What weights are that give no TEMPLATE; the variant's metadata may say a chat template, or deny it."""
    said = variant.metadata.get("tokenizer.chat_template")
    if said is None:
        return found
    return found._replace(template=found.path) if said else None


def _is_said(variant: Variant) -> bool:
    return variant.string("template") is not None or "template" in variant.cleared


def _same(one: Chat, other: Chat | None) -> bool:
    """Whether two chat templates are the same, or make the same TEMPLATE."""
    if other is None or one.template == other.template:
        return other is not None
    first, second = _family(one), _family(other)
    return first is not None and second is not None and (first.template, first.stop) == (second.template, second.stop)


def _family(chat: Chat) -> Family | None:
    from modelbuild.ollama import chat_templates

    tokens = {name: text for name, text in (("bos", chat.bos), ("eos", chat.eos)) if text is not None}
    return chat_templates.recognize(chat.template, **tokens)


def remark(prompts: Prompts, variant: Variant, base: Base) -> None:
    """Remark on a finished model that has neither a TEMPLATE nor a renderer, though nobody said that none is wanted."""
    kinds = {each.media_type for each in base.layers}
    chosen = "template" in variant.cleared or variant.string("template") is not None or "renderer" in base.config
    if base.bare is not None and media.TEMPLATE not in kinds and not chosen:
        prompts.add(variant.label, base.bare, bool(kinds & {media.SYSTEM, media.MESSAGES}))

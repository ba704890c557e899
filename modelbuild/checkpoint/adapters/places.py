"""Where the tensors of a checkpoint go in the file of a model, told from the model's own metadata.

The architecture's file says so, of the adapter's tensors as of the checkpoint's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import islice

from modelbuild.checkpoint import architectures
from modelbuild.checkpoint.adapters.gguf import EMBEDDING
from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tensor_names import is_wanted
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from modelbuild.tensors.tensor import Shape
from modelbuild.words import listed, plural, shown

_CONFIG = {
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "shared_intermediate_size": "expert_shared_feed_forward_length",
    "num_local_experts": "expert_count",
    "num_experts": "expert_count",
    "n_routed_experts": "expert_count",
    "mamba_n_groups": "ssm.group_count",
    "mamba_num_heads": "ssm.time_step_rank",
    "n_shared_experts": "expert_shared_count",
    "first_k_dense_replace": "leading_dense_block_count",
    "num_nextn_predict_layers": "nextn_predict_layers",
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "v_head_dim": "attention.value_length_mla",
    "index_n_heads": "attention.indexer.head_count",
    "index_head_dim": "attention.indexer.key_length",
    "mtp_num_hidden_layers": "nextn_predict_layers",
    "full_attention_interval": "full_attention_interval",
    "linear_num_key_heads": "ssm.group_count",
    "linear_num_value_heads": "ssm.time_step_rank",
    "linear_key_head_dim": "ssm.state_size",
    # The runtime knows no heads of values of another size.
    "linear_value_head_dim": "ssm.state_size",
}
"""Keys of config.json that say where rows go, and the metadata that says the same."""

LOOKED = 1000
"""Tensors of which an error tells whether the model has them, where it does not have all: each takes a millisecond."""

_EXPERT = re.compile(r"((?:model\.|mtp\.)?layers\.[0-9]+\..+)\.(?:experts\.[0-9]+\.(.+)|gate)\.weight")


class Places:
    """Where the tensors of a checkpoint go in the file of a model."""

    embedding = EMBEDDING
    output = "output.weight"

    def __init__(self, base: Recipe) -> None:
        self.entries: dict[str, Entry] = {entry.name: entry for entry in base.tensors}
        name = gguf.scalar(base.metadata, "general.architecture")
        self.architecture = str(name)
        self._metadata = base.metadata
        self._experts = self._number("expert_count") or 0

    @cached_property
    def _classes(self) -> list[type[Architecture]]:
        """The classes of checkpoints that become such a model. Raises Error where that is not one that we convert."""
        known = architectures.known()
        found = [each for each in known if getattr(each, "NAME", None) == self.architecture and each.CLASSES]
        if not found:
            names = sorted({each.NAME for each in known if hasattr(each, "NAME")})
            raise Error(
                f"adapters of models of the architecture '{shown(self.architecture)}' are not supported yet, "
                "unless they are GGUF files",
                facts=[("known", listed(names, 30))],
            )
        # Blocks for further tokens are left out by the classes whose files have none: GLM's and DeepSeek's become one architecture.
        return sorted(found, key=lambda each: not each.MTP) if self._number("nextn_predict_layers") else found

    @property
    def blocks(self) -> int:
        """How many blocks the file says it has."""
        return self._number("block_count") or 0

    @property
    def predicts(self) -> bool:
        """Whether checkpoints of such models may have blocks for the prediction of several tokens, behind all others."""
        return any(each.MTP for each in architectures.known() if getattr(each, "NAME", None) == self.architecture)

    def _number(self, key: str) -> int | None:
        data = self._metadata.get(f"{self.architecture}.{key}")
        value = None if data is None else gguf.decode_value(data)
        if isinstance(value, list):
            # Blocks without attention have no heads, those without a feed forward no rows.
            numbers = {each for each in value if each}
            value = numbers.pop() if len(numbers) == 1 else None
        return value if type(value) is int and 0 < value < 1 << 31 else None

    def of(self, tensors: Mapping[str, Expression]) -> list[tuple[str, Expression]]:
        """The tensors of the file that are made of a checkpoint's, and how; in the order in which these become whole.

        Raises Error where the model has no such tensors.
        """
        named = self._named(tensors)
        first: Error | None = None
        for each in self._classes:
            try:
                return self._made(each, named)
            except Error as error:
                first = first or error
        assert first is not None
        unknown = [name for name, x in islice(named.items(), LOOKED) if not self._knows({name: x})]
        raise self._unplaced(unknown, len(named) > LOOKED) if unknown else first

    def symbols(self, shapes: Mapping[str, Shape]) -> list[tuple[str, Expression]]:
        """The same of tensors that are not there: each leaf has its name for a digest."""
        return self.of({name: leaf(text_name(name), "f32", shape) for name, shape in shapes.items()})

    def knows(self, name: str, x: Expression) -> bool:
        """Whether models of this architecture can have a tensor of a checkpoint's."""
        return self._knows({text_name(name): x})

    def _knows(self, named: Mapping[str, Expression]) -> bool:
        for each in self._classes:
            try:
                if self._made(each, named):
                    return True
            except Error:
                continue
        return False

    def _named(self, tensors: Mapping[str, Expression]) -> dict[str, Expression]:
        """The names of a model of text alone. Raises Error for tensors of another model beside it."""
        others = [name for name in tensors if not is_wanted(name)]
        if others:
            raise Error(
                f"the adapter changes {plural(len(others), 'tensor')} of a vision or audio part, and an adapter can only go "
                "into the text model",
                facts=[("tensors", listed(map(shown, others), 6))],
                hint="merge it with PEFT (merge_and_unload), and name the merged folder in FROM; or train it on the language model alone",
            )
        return {text_name(name): x for name, x in tensors.items()}

    def _unplaced(self, unknown: Iterable[str], more: bool) -> Error:
        names = [shown(name) for name in unknown]
        heads = [name for name in names if name.startswith(("score.", "classifier."))]
        if heads:
            return Error(
                f"the adapter has a head for classification ('{heads[0]}'), which a model of text has no place for",
                hint="only adapters of causal language models (task_type CAUSAL_LM) can be served",
            )
        if names == ["lm_head.weight"]:
            return Error(
                f"the adapter has an output matrix of its own ('lm_head.weight'), and models of '{shown(self.architecture)}' "
                "have none: their output is the embedding",
                hint="train embedding and output as one: PEFT's LoraConfig has ensure_weight_tying = True for that",
            )
        return Error(
            f"the adapter changes {'at least ' * more}{plural(len(names), 'tensor')} that the model does not have",
            facts=[
                ("tensors", listed(names, 6)),
                ("the model", f"{self.architecture}, {self.blocks} blocks"),
            ],
            hint="the adapter is another model's; name the base that it was trained on in FROM",
        )

    def tokenizer(self, checkpoint: Checkpoint, size: int) -> Mapping[str, bytes]:
        """The tokenizer's metadata that comes of an adapter's files, of `size` tokens. Raises Error."""
        config: dict[str, int] = {**self._config(), "vocab_size": size}
        for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
            number = gguf.scalar(self._metadata, f"tokenizer.ggml.{key}_token_id")
            if type(number) is int:
                config[f"{name}_token_id"] = number
        pre = gguf.scalar(self._metadata, "tokenizer.ggml.pre")
        files = {"config.json": json.dumps(config).encode()}

        def read(name: str) -> bytes | None:
            return files.get(name) or (checkpoint.read(name) if name in checkpoint.names else None)

        architecture = self._classes[0](Checkpoint(read, checkpoint.names, pre=pre if isinstance(pre, str) else None))
        return architecture.tokenizer

    def with_tokens(self, metadata: Mapping[str, bytes]) -> None:
        """Go on with the tokens of other metadata."""
        self._metadata = metadata

    def _config(self) -> dict[str, int]:
        found = {key: count for key, value in _CONFIG.items() if (count := self._number(value)) is not None}
        if further := found.get("mtp_num_hidden_layers"):
            found["num_hidden_layers"] = max(found.get("num_hidden_layers", 0) - further, 0)
        if (inner := self._number("ssm.inner_size")) and "mamba_num_heads" in found and "hidden_size" in found:
            found["mamba_head_dim"] = inner // found["mamba_num_heads"]
            found["mamba_expand"] = inner // found["hidden_size"]
        if (key := self._number("attention.key_length_mla")) is not None:
            found["qk_nope_head_dim"] = key - found.get("qk_rope_head_dim", 0)
        return found

    def _made(self, kind: type[Architecture], named: Mapping[str, Expression]) -> list[tuple[str, Expression]]:
        files = {"config.json": json.dumps(self._config()).encode()}
        architecture = kind(Checkpoint(files.get, tensors=lambda: named))
        # What a tokenizer decides, its tokens in the file have decided.
        vars(architecture)["tokenizer"] = self._metadata
        named = {known: x for name, x in named.items() if (known := architecture.named(name)) is not None}
        made = architecture.tensors(architecture.choose({**named, **self._other_experts(kind, named)}))
        ours = {each.digest: name for name, x in named.items() for each in x.leaves()}
        found = [(name, x) for name, x in made if any(each.digest in ours for each in x.leaves())]
        taken = {each.digest for _, x in found for each in x.leaves()}
        if lost := [name for digest, name in ours.items() if digest not in taken]:
            raise Error(
                f"the adapter changes '{shown(lost[0])}', which {self.architecture} models do not have: they use the embedding's",
                hint="train the adapter without it",
            )
        return found

    def _other_experts(self, kind: type[Architecture], named: Mapping[str, Expression]) -> dict[str, Expression]:
        """The experts of a block of which an adapter changes some, where a checkpoint holds each apart."""
        keys = [key.partition(".experts.") for key in kind.NAMES if ".experts." in key]
        parts = [part for _, _, part in keys]
        found: dict[str, Expression] = {}
        shapes: dict[str, Shape] = {}
        blocks = []
        together = {
            name.partition(".experts.")[0] for name in named if ".experts." in name and not _EXPERT.fullmatch(name)
        }
        for name, x in named.items():
            if (match := _EXPERT.fullmatch(name)) and keys and match[1] not in together:
                # transformers 5 calls the holder of all experts `mlp`, whatever the checkpoint does.
                block = f"{match[1].rpartition('.')[0]}.{keys[0][0].rpartition('.')[2]}"
                blocks.append(block)
                if match[2]:
                    shapes[f"{block}.{match[2]}"] = x.shape
        for block in dict.fromkeys(blocks):
            for part in parts:
                shape = shapes.get(f"{block}.{part}", (1, 1))
                for index in range(min(self._experts, 1 << 12)):
                    name = f"{block}.experts.{index}.{part}.weight"
                    if name not in named:
                        found[name] = leaf(name, "f32", shape)
        return found


def text_name(name: str) -> str:
    """What a model of text alone calls a tensor."""
    return name.replace("language_model.", "")

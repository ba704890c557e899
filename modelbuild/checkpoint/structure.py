"""Whether the tensors of a model are those that its architecture and its configuration tell of: none missing, shapes that fit.

What the runtime would refuse to load is found here before anything is made of it (llama.cpp src/llama-model.cpp, load_tensors).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modelbuild.checkpoint import required
from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._mtp import DROP_THEM
from modelbuild.checkpoint.config import block_count
from modelbuild.checkpoint.shards import Gap
from modelbuild.checkpoint.tables import SHOWN, lines
from modelbuild.errors import Error
from modelbuild.tensors import ftypes
from modelbuild.tensors.recipe import Entry, Expression
from modelbuild.tensors.tensor import Shape
from modelbuild.tuples import NamedTuple
from modelbuild.words import in_json, listed

_INSTEAD = {
    "blk.N.attn_q": "blk.N.attn_qkv",
    "blk.N.attn_k": "blk.N.attn_qkv",
    "blk.N.attn_v": "blk.N.attn_qkv",
    "blk.N.attn_qkv": "blk.N.attn_q",
    "blk.N.ffn_gate": "blk.N.ffn_gate_exps",
    "blk.N.ffn_up": "blk.N.ffn_up_exps",
    "blk.N.ffn_down": "blk.N.ffn_down_exps",
    "blk.N.ffn_gate_inp": "blk.N.ffn_up",
    "blk.N.ffn_gate_exps": "blk.N.ffn_gate",
    "blk.N.ffn_up_exps": "blk.N.ffn_up",
    "blk.N.ffn_down_exps": "blk.N.ffn_down",
}
"""What may stand in the place of a stem, in each block for itself."""


def faults(entries: Sequence[Entry], architecture: Architecture, gap: Gap | None = None) -> list[Error]:
    """All that is wrong with the tensors of a file to be made, and with the hyper-parameters; `gap`: which files are missing."""
    lacking = [*_missing(entries, architecture), *_untied(entries, architecture, gap is not None)]
    found = [gap.explains(error) for error in lacking] if gap else lacking
    found += _biases(entries, architecture)
    found += _unfit(entries, architecture)
    return [*found, *required.faults(architecture, {_split(entry.name)[0] for entry in entries})]


def doubts(entries: Sequence[Entry], architecture: Architecture) -> Iterator[Error]:
    """What such tensors can hardly be meant to be, and may be."""
    names = {entry.name for entry in entries}
    if architecture.config.get("tie_word_embeddings") is False and not names & {"output.weight", "cls.output.weight"}:
        yield Error(
            "the checkpoint has no 'lm_head.weight', although config.json says tie_word_embeddings false",
            hint="llama.cpp's runtime takes the embedding for the output: that is right if the model was trained so",
        )


def source(expression: Expression) -> str:
    """What errors call a tensor of the checkpoint: the first that this one is made from; empty for one made from none."""
    return next((leaf.label for leaf in expression.leaves()), "")


def _missing(entries: Sequence[Entry], architecture: Architecture) -> Iterator[Error]:
    blocks = architecture.blocks[: len(entries)]
    present = {entry.name for entry in entries}
    stems = {_split(name)[0] for name in present if name.endswith(".weight")}
    optional = re.compile(architecture.OPTIONAL)
    needed = {stem for stem in architecture.NAMES.values() if not optional.fullmatch(stem)}
    # A stem that one block has, every block has.
    needed |= {stem for stem in stems if stem.startswith("blk.")}
    biases = {_split(name)[0] for name in present if name.endswith(".bias")}
    biases |= {name.removesuffix(".bias") for name in architecture.NEEDED if name.endswith(".bias")}
    lacking: dict[str, list[int]] = {}
    bare = {name for name in architecture.NEEDED if not _suffix(name)}
    for suffix, kinds in ((".weight", needed), (".bias", biases), ("", bare)):
        for stem in sorted(kinds):
            numbers = [n for n in (blocks if "N" in stem.split(".") else (0,)) if architecture.has(stem, n)]
            for number in numbers:
                instead = None if architecture.EXPERTS_BESIDE and ".ffn_" in stem else _INSTEAD.get(stem)
                fits = _name(stem, number) + suffix in present
                if not fits and not (instead and _name(instead, number) + ".weight" in present):
                    lacking.setdefault(stem + suffix, []).append(number)
    if not lacking:
        return
    shown = [_name(stem, number) for stem, numbers in lacking.items() for number in numbers]
    facts = [("missing", listed(_hf(stem, numbers[0], architecture.NAMES) for stem, numbers in lacking.items()))]
    if any("N" in stem.split(".") for stem in lacking):
        where = sorted({n for stem, numbers in lacking.items() if "N" in stem.split(".") for n in numbers})
        facts.append(("blocks", listed(map(str, where)) if len(where) < len(blocks) else f"all {len(blocks)}"))
    yield Error(
        f"the checkpoint lacks {len(shown)} {'tensor' if len(shown) == 1 else 'tensors'} that this architecture has",
        facts=facts,
        hint=_why(lacking, architecture),
    )


def _why(lacking: Mapping[str, Sequence[int]], architecture: Architecture) -> str:
    """What to do about tensors that are missing: the numbers of blocks, by the names of tensors."""
    own = block_count(architecture.config)
    if all(number >= own for numbers in lacking.values() for number in numbers):
        return f"the download is incomplete, or these blocks are damaged: {DROP_THEM}"

    def in_all(stem: str, numbers: Sequence[int]) -> bool:
        return "N" not in stem or len(numbers) == sum(architecture.has(stem, number) for number in range(own))

    if all(name.endswith(".bias") and in_all(name[:-5], numbers) for name, numbers in lacking.items()):
        return (
            f"llama.cpp's runtime loads a model of {architecture.NAME} only with these biases: "
            "one that was trained without them cannot be run"
        )
    return "the download is incomplete, or config.json belongs to another checkpoint"


def _untied(entries: Sequence[Entry], architecture: Architecture, cut: bool) -> Iterator[Error]:
    names = {entry.name for entry in entries}
    if "output.weight" in names or "token_embd.weight" not in names:
        return
    if cut and architecture.config.get("tie_word_embeddings") is False:
        yield Error("the checkpoint lacks 'lm_head.weight', and config.json says tie_word_embeddings false")
    elif "output.weight" in architecture.NEEDED:
        yield Error(
            f"the checkpoint lacks 'lm_head.weight', which llama.cpp's runtime needs of a model of {architecture.NAME}",
            facts=[("config.json", f"tie_word_embeddings {in_json(architecture.config.get('tie_word_embeddings'))}")],
            hint="if the output is the embedding, store it again as lm_head.weight",
        )


def _biases(entries: Sequence[Entry], architecture: Architecture) -> Iterator[Error]:
    read = re.compile(architecture.BIASES)
    found = [e for e in entries if e.name.endswith(".bias") and not read.fullmatch(_split(e.name)[0])]
    if found:
        count = "1 bias" if len(found) == 1 else f"{len(found)} biases"
        yield Error(
            f"the checkpoint contains {count} that llama.cpp's runtime does not read in a model of {architecture.NAME}",
            facts=[("tensors", listed(source(entry.expression) or entry.name for entry in found))],
            hint="llama.cpp would refuse the file; it runs only models without them",
        )


def _split(name: str) -> tuple[str, int]:
    """`blk.N.attn_q` and the number, of `blk.3.attn_q.weight`."""
    stem = name.removesuffix(f".{_suffix(name)}")
    block = re.match(r"blk\.(\d+)\.", stem)
    return (f"blk.N.{stem[block.end() :]}", int(block[1])) if block else (stem, 0)


def _suffix(name: str) -> str:
    """`weight` or `bias`; empty for a name that ends in neither."""
    suffix = name.rpartition(".")[2]
    return suffix if suffix in ("weight", "bias") else ""


def _name(stem: str, number: int) -> str:
    return stem.replace(".N.", f".{number}.")


def _hf(name: str, number: int, names: Mapping[str, str]) -> str:
    """What the checkpoint calls a tensor, where its name alone tells."""
    stem, _, suffix = name.rpartition(".")
    found = next((hf for hf, known in names.items() if known == stem), None)
    return f"{_name(found, number)}.{suffix}" if found else _name(name, number)


class Size(NamedTuple):
    """A number that a shape should hold, and what of config.json says so."""

    value: int
    said_by: str


def _unfit(entries: Sequence[Entry], architecture: Architecture) -> Iterator[Error]:
    known = _Known(architecture, {_split(entry.name)[0] for entry in entries})
    wrong: dict[str, list[tuple[Entry, list[tuple[Size, ...]]]]] = {}
    for entry in entries:
        stem, number = _split(entry.name)
        key = f"{stem}.{_suffix(entry.name)}"
        wanted = known.of(number).get(key)
        if wanted and not any(_fits(entry.shape, shape) for shape in wanted):
            wrong.setdefault(key, []).append((entry, wanted))
    if wrong:
        facts = []
        for found in wrong.values():
            entry, wanted = found[0]
            expected = " or ".join(_shape(shape) for shape in wanted)
            name = source(entry.expression) or entry.name
            facts.append((name, f"expected {expected}, got {list(entry.shape)}"))
        count = sum(map(len, wrong.values()))
        yield Error(
            f"{count} {'tensor does' if count == 1 else 'tensors do'} not have the shape that config.json declares",
            path="config.json",
            facts=[*facts[:SHOWN], *([("and", f"{len(facts) - SHOWN} other kinds")] if len(facts) > SHOWN else [])],
            hint="config.json belongs to another checkpoint",
        )
    # What config.json has no number for is at least the same in every block.
    shapes: dict[str, Entry] = {}
    for entry in entries:
        stem, number = _split(entry.name)
        key = f"{stem}.{_suffix(entry.name)}"
        if key in known.of(number) or not stem.startswith("blk."):
            continue
        before = shapes.setdefault(key, entry)
        if before.shape != entry.shape:
            yield Error(
                f"tensor '{source(entry.expression) or entry.name}' differs in shape from the first block's",
                facts=[("expected", f"{list(before.shape)}"), ("got", f"{list(entry.shape)}")],
                hint="the checkpoint is damaged, or mixed from two",
            )
            return


def _fits(shape: Shape, wanted: tuple[Size, ...]) -> bool:
    return ftypes.stripped(shape) == ftypes.stripped(tuple(size.value for size in wanted))


def _shape(wanted: tuple[Size, ...]) -> str:
    return f"{[size.value for size in wanted]} ({', '.join(size.said_by for size in wanted)})"


_SHAPES = lines("""
    token_embd                 embd vocab
    token_embd_norm            embd
    token_types                embd types
    position_embd              embd ctx
    cls                        embd embd
    cls.norm                   embd
    cls.output                 embd labels
    blk.N.attn_output_norm     embd
    blk.N.layer_output_norm    embd
    blk.N.attn_norm_2          embd
    output                     embd vocab
    output_norm                embd
    blk.N.attn_norm            embd
    blk.N.ffn_norm             embd
    blk.N.post_attention_norm  embd
    blk.N.post_ffw_norm        embd
    blk.N.attn_q               embd queries
    blk.N.attn_k               embd keys
    blk.N.attn_v               embd keys
    blk.N.attn_qkv             embd qkv
    blk.N.attn_output          queries embd
    blk.N.attn_q_norm          head
    blk.N.attn_q_norm          queries
    blk.N.attn_k_norm          head
    blk.N.attn_k_norm          keys
    blk.N.attn_sinks           heads
    blk.N.ffn_gate             embd ff
    blk.N.ffn_up               embd up
    blk.N.ffn_down             ff embd
    blk.N.ffn_gate_inp         embd experts
    blk.N.ffn_gate_exps        embd ff_exp experts
    blk.N.ffn_up_exps          embd ff_exp experts
    blk.N.ffn_down_exps        ff_exp embd experts
    blk.N.ffn_gate_shexp       embd ff_shexp
    blk.N.ffn_up_shexp         embd ff_shexp
    blk.N.ffn_down_shexp       ff_shexp embd
""")
"""The shapes that any of our architectures gives these tensors, those from outside too, which have no table of what the runtime loads.

A name may stand here twice. `qkv` are queries, keys and values together, `up` what ffn_up makes. A matrix may have a bias.
"""


class _Known:
    """The shapes that a configuration tells of, block by block."""

    def __init__(self, architecture: Architecture, stems: set[str]) -> None:
        self._architecture = architecture
        self._sizes = _sizes(architecture, stems)
        self._found: dict[Sequence[tuple[str, tuple[int, str]]], dict[str, list[tuple[Size, ...]]]] = {}

    def of(self, block: int) -> dict[str, list[tuple[Size, ...]]]:
        """Those of one block, by name. What belongs to no block has those of block 0."""
        try:
            own = tuple(self._architecture.sizes(block).items())
        except Error:
            # Told where the metadata is made.
            own = ()
        if own not in self._found:
            sizes = {**self._sizes, **{word: Size(*each) for word, each in own}}
            self._found[own] = _shapes(self._architecture, sizes)
        return self._found[own]


def _shapes(architecture: Architecture, sizes: Mapping[str, Size]) -> dict[str, list[tuple[Size, ...]]]:
    """The shapes that sizes tell of, by name, outermost dimension first; where it may be one of several, all of them."""
    found: dict[str, list[tuple[Size, ...]]] = {}
    own = lines(architecture.SHAPES)
    others = {line.name for line in own}
    for line in (*own, *(line for line in _SHAPES if line.name not in others)):
        if all(word in sizes for word in line.dimensions):
            shape = tuple(sizes[word] for word in reversed(line.dimensions))
            bare = line.name.endswith((".", ".bias"))
            found.setdefault(line.name if bare else f"{line.name}.weight", []).append(shape)
            if not bare and len(shape) > 1 and line.name != "token_embd":
                found.setdefault(f"{line.name}.bias", []).append(shape[:-1])
            elif not bare and "norm" in line.name:
                found.setdefault(f"{line.name}.bias", []).append(shape)
    return found


def _sizes(architecture: Architecture, stems: set[str]) -> dict[str, Size]:
    """What the words of a table mean by a configuration; without those that it tells nothing of."""
    config: Mapping[str, Any] = architecture.config
    try:
        values = architecture.parameters(0)
    except Error:
        # Told where the metadata is made.
        values = {}

    def size(*keys: str, written: str = "") -> Size | None:
        """What the file will say, or else config.json."""
        key = next((key for key in keys if type(config.get(key)) is int), None)
        data = values.get(f"{architecture.NAME}.{written}", b"")
        if len(data) == 8:
            return Size(int.from_bytes(data[4:], "little"), key or keys[0])
        return Size(config[key], key) if key else None

    hidden = size("hidden_size", "n_embd", written="embedding_length")
    forward = size("intermediate_size", "n_inner", written="feed_forward_length")
    heads = size("num_attention_heads", "n_head", "n_heads", written="attention.head_count")
    shared = size("num_key_value_heads", written="attention.head_count_kv") or heads
    key_length = f"{architecture.NAME}.attention.key_length"
    head = size("head_dim", written="attention.key_length") if not values or key_length in values else None
    if head is None and hidden and heads and heads.value:
        head = Size(hidden.value // heads.value, "hidden_size / num_attention_heads")
    queries, keys = _times(heads, head), _times(shared, head)
    if not architecture.FREE_HEADS:
        queries = hidden
    sizes = {
        "embd": hidden,
        "vocab": size("vocab_size"),
        "ctx": size("max_position_embeddings", written="context_length"),
        "types": size("type_vocab_size"),
        "labels": _labels(values, architecture.NAME),
        "ff": forward,
        "head": head,
        "heads": heads,
        "queries": queries,
        "keys": keys,
        "qkv": Size(queries.value + 2 * keys.value, "queries, keys and values") if queries and keys else None,
        # Without a gate of its own, it stands in the rows of ffn_up.
        "up": forward if "blk.N.ffn_gate" in stems or _ungated(architecture) else _double(forward),
        "experts": size("num_local_experts", "num_experts"),
        "ff_exp": size("moe_intermediate_size") or forward,
        "ff_shexp": size(
            "shared_expert_intermediate_size", "shared_intermediate_size", written="expert_shared_feed_forward_length"
        ),
        "2*embd": _double(hidden),
        "3*embd": Size(3 * hidden.value, f"3 * {hidden.said_by}") if hidden else None,
        "2*queries": _double(queries),
        **_linear(size),
    }
    return {word: each for word, each in sizes.items() if each is not None}


def _ungated(architecture: Architecture) -> bool:
    """Whether the runtime knows no gate of its feed forward."""
    table = {line.name: line.dimensions for line in lines(architecture.LOADS)}
    return "blk.N.ffn_gate" not in table and table.get("blk.N.ffn_up") == ("embd", "ff")


def _labels(values: Mapping[str, bytes], name: str) -> Size:
    data = values.get(f"{name}.classifier.output_labels")
    return Size(int.from_bytes(data[8:16], "little"), "id2label") if data else Size(1, "one label")


def _times(count: Size | None, each: Size | None) -> Size | None:
    if count is None or each is None:
        return None
    said = each.said_by if each.said_by.endswith("head_dim") else "size of a head"
    return Size(count.value * each.value, f"{count.said_by} * {said}")


def _linear(size: Callable[..., Size | None]) -> dict[str, Size | None]:
    """The sizes of blocks with linear attention, whose heads of values are as large as those of keys."""
    state = size("linear_key_head_dim", written="ssm.state_size")
    rank = size("linear_num_value_heads", written="ssm.time_step_rank")
    inner, keys = _times(rank, state), _times(size("linear_num_key_heads", written="ssm.group_count"), state)
    mixed = Size(2 * keys.value + inner.value, "queries, keys and values") if keys and inner else None
    conv = size("linear_conv_kernel_dim", written="ssm.conv_kernel") or size("conv_L_cache")
    return {"state": state, "rank": rank, "inner": inner, "mixed": mixed, "conv": conv, "2*rank": _double(rank)}


def _double(size: Size | None) -> Size | None:
    return Size(2 * size.value, f"2 * {size.said_by}") if size else None

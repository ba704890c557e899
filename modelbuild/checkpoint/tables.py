"""Tables of tensors: names, and the dimensions of each in words, as llama.cpp's source has them (src/models/NAME.cpp, load_arch_tensors).

A line is a name and its dimensions as ggml has them, innermost first: `blk.N.attn_norm embd`, N for each block. The suffix is `.weight`
where none is said, and none where the name ends in a dot. `?` behind a name: the file may lack it. Before it: `dense`, `experts` and
`shared`, only in blocks without experts, with experts, with experts that all tokens share; `first` and `later`, only in the blocks before
those with experts, in those, and in none for further tokens; `attention`, `recurrent`, `forward` and `nextn`, only in blocks with
attention, with linear attention, a convolution or a Mamba-2 mixer, with a feed forward in their place, for further tokens; `low` and
`high`, only in models whose queries are compressed, are not; `split` and `whole`, only where keys and values are made of compressed ones
by two tensors, by one; `own` and `lent`, only in blocks with keys and values of their own, with those of earlier blocks; `layered`, only
with an embedding for each block. `blk.N.qkv Q K V` stands for queries, keys and values in one tensor or in three, with biases if the file
has any (src/llama-model.cpp, create_tensor_qkv). The dimensions: `embd`, `vocab`, `ctx` (positions), `types` (of segments), `ff` (feed
forward), `up` (what ffn_up makes: with a gate in it, twice that), `head` (of a key), `heads`, `kv_heads`, `queries`, `keys`, `values`
(all heads together), `experts`, `ff_exp`, `ff_shexp` (feed forward of an expert, of the shared one), `labels` (of a classifier), `index`
and `indices` (of what chooses the text that a block sees: a key, all heads together), `rot/2`; of linear attention `conv` (kernel),
`state` (a head), `rank` (heads of values), `inner` (these together), `mixed` (queries, keys and values); of a Mamba-2 mixer `ssm`
(channels), `groups`, `ssm_group` (channels of a group), `ssm_conv` (what its convolution mixes), `ssm_in` (what its first matrix makes);
of attention over compressed keys and values `q_lora`, `kv_lora` (what is compressed), `kv_a` (with the rotated key), `kv_b` (keys and
values of all heads), `nope` (of a key, what does not rotate), `mla_queries`, `mla_values` (all heads), `mla_value` (a head), `indexers`
(heads of what chooses); `latent` (what experts get); `layer` (of the embedding for one block), `layered` (for all), `out` (of the model
that a draft serves), `1`; and multiples of these, as `2*ff`.
"""

from __future__ import annotations

import re

from modelbuild.tuples import NamedTuple

SHOWN = 4
"""Kinds of tensors that an error shows."""


_LINE = re.compile(
    r"(?:(dense|experts|shared|attention|recurrent|forward|nextn|own|lent|layered|first|later|low|high|split|whole) )?"
    r"([\w.]+)(\?)?((?: +[\w*/]+)+)"
)


class Line(NamedTuple):
    """One line of a table.

    when        the word before the name, such as `dense`; empty: always
    optional    whether a file may lack it
    dimensions  in words, innermost first
    """

    when: str
    name: str
    optional: bool
    dimensions: tuple[str, ...]

    @property
    def tensor(self) -> str:
        """The name with its suffix."""
        return self.name if re.search(r"\.(weight|bias)(\.\d+)?$", self.name) else f"{self.name}.weight"


def lines(table: str) -> tuple[Line, ...]:
    """The lines of a table, in their order."""
    found = []
    for text in filter(None, map(str.strip, table.split("\n"))):
        line = _LINE.fullmatch(re.sub(" +", " ", text))
        assert line is not None, text
        when, name, optional, dimensions = line.groups()
        found.append(Line(when or "", name, bool(optional), tuple(dimensions.split())))
    return tuple(found)


SAID = {
    "embd": "embedding_length",
    "vocab": "tokens of the vocabulary",
    "ctx": "context_length",
    "types": "token_type_count",
    "ff": "feed_forward_length",
    "up": "feed_forward_length, or twice that",
    "head": "attention.key_length",
    "heads": "attention.head_count",
    "kv_heads": "attention.head_count_kv",
    "queries": "heads of the queries",
    "keys": "heads of the keys",
    "values": "heads of the values",
    "experts": "expert_count",
    "ff_exp": "feed_forward_length of an expert",
    "ff_shexp": "feed_forward_length of the shared experts",
    "index": "attention.indexer.key_length",
    "indices": "attention.indexer.head_count * attention.indexer.key_length",
    "labels": "classifier.output_labels",
    "rot/2": "rope.dimension_count / 2",
    "2*ff": "2 * feed_forward_length",
    "2*ff_exp": "2 * feed_forward_length of an expert",
    "3*embd": "3 * embedding_length",
    "2*embd": "2 * embedding_length",
    "2*queries": "2 * heads of the queries",
    "conv": "ssm.conv_kernel",
    "state": "ssm.state_size",
    "rank": "ssm.time_step_rank",
    "2*rank": "2 * ssm.time_step_rank",
    "inner": "ssm.state_size * ssm.time_step_rank",
    "mixed": "ssm.state_size * (2 * ssm.group_count + ssm.time_step_rank)",
    "ssm": "ssm.inner_size",
    "groups": "ssm.group_count",
    "ssm_group": "ssm.inner_size / ssm.group_count",
    "ssm_conv": "ssm.inner_size + 2 * ssm.group_count * ssm.state_size",
    "ssm_in": "2 * ssm.inner_size + 2 * ssm.group_count * ssm.state_size + ssm.time_step_rank",
    "latent": "moe_latent_size, or embedding_length",
    "layer": "embedding_length_per_layer_input",
    "layered": "block_count * embedding_length_per_layer_input",
    "out": "embedding_length_out",
    "2*out": "2 * embedding_length_out",
    "1": "one number",
    "q_lora": "attention.q_lora_rank",
    "kv_lora": "attention.kv_lora_rank",
    "kv_a": "attention.kv_lora_rank + rope.dimension_count",
    "kv_b": "keys and values of all heads",
    "nope": "attention.key_length_mla - rope.dimension_count",
    "mla_queries": "attention.head_count * attention.key_length_mla",
    "mla_value": "attention.value_length_mla",
    "mla_values": "attention.head_count * attention.value_length_mla",
    "indexers": "attention.indexer.head_count",
}
"""The words of dimensions, as the metadata of a file says them."""

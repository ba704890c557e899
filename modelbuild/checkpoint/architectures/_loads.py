"""Which tensors llama.cpp's runtime loads, in a table that reads as its source does (src/models/NAME.cpp, load_arch_tensors).

A line is a name and its dimensions as ggml has them, innermost first: `blk.N.attn_norm  embd`, N for each block. The suffix is `.weight`
where none is said. `?` behind a name: the file may lack it. `dense`, `experts` and `shared` before it: only without experts, with
experts, with experts that all tokens share. `blk.N.qkv  Q K V` stands for queries, keys and values in one tensor or in three, with
biases if the file has any (src/llama-model.cpp, create_tensor_qkv).

The dimensions: `embd`, `vocab`, `ff` (feed forward), `head` (of a key), `heads`, `queries`, `keys`, `values` (all heads together),
`experts`, `ff_exp`, `ff_shexp` (feed forward of an expert, of the shared one), `rot/2`; and multiples of these, as `2*ff`.
"""

from __future__ import annotations

EMBEDDING = """
    token_embd                embd vocab
    output_norm               embd
"""
OUTPUT = """
    output?                   embd vocab
"""
FEED_FORWARD = """
    blk.N.ffn_gate            embd ff
    blk.N.ffn_up              embd ff
    blk.N.ffn_down            ff embd
"""
ATTENTION = """
    blk.N.attn_norm           embd
    blk.N.qkv                 queries keys values
    blk.N.attn_output         queries embd
    blk.N.ffn_norm            embd
"""
NORMED_HEADS = """
    blk.N.attn_norm           embd
    blk.N.qkv                 queries values values
    blk.N.attn_output         queries embd
    blk.N.attn_k_norm         head
    blk.N.attn_q_norm         head
    blk.N.ffn_norm            embd
"""
LLAMA = f"""
    {EMBEDDING} {OUTPUT} {ATTENTION}
    blk.N.attn_output.bias?   embd
    rope_freqs?               rot/2
    dense blk.N.ffn_gate      embd ff
    dense blk.N.ffn_up        embd ff
    dense blk.N.ffn_down      ff embd
    dense blk.N.ffn_gate.bias?    ff
    dense blk.N.ffn_up.bias?      ff
    dense blk.N.ffn_down.bias?    embd
    experts blk.N.ffn_gate_inp    embd experts
    experts blk.N.ffn_gate_exps?  embd ff experts
    experts blk.N.ffn_up_exps     embd ff experts
    experts blk.N.ffn_down_exps   ff embd experts
    shared blk.N.ffn_gate_shexp   embd ff_shexp
    shared blk.N.ffn_up_shexp     embd ff_shexp
    shared blk.N.ffn_down_shexp   ff_shexp embd
"""

"""Which tensors llama.cpp's runtime loads in most models: parts of the tables of architectures; see `tables` for what the words mean."""

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

"""Parts of the tables of what llama.cpp's runtime loads that several towers have in common."""

from __future__ import annotations

ATTENTION = """
    v.blk.N.attn_q           embd embd
    v.blk.N.attn_q.bias?     embd
    v.blk.N.attn_k           embd embd
    v.blk.N.attn_k.bias?     embd
    v.blk.N.attn_v           embd embd
    v.blk.N.attn_v.bias?     embd
    v.blk.N.attn_out         embd embd
    v.blk.N.attn_out.bias?   embd
"""

FEED_FORWARD = """
    v.blk.N.ffn_up           embd ff
    v.blk.N.ffn_up.bias?     ff
    v.blk.N.ffn_down         ff embd
    v.blk.N.ffn_down.bias?   embd
"""

MERGER = """
    mm.0                     merged merged
    mm.0.bias                merged
    mm.2                     merged text
    mm.2.bias                text
"""

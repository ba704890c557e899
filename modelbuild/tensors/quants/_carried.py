"""Sizes of the ggml types that a GGUF may hold and that we copy as they are, never making or reading their values."""

from __future__ import annotations

SIZES: dict[str, tuple[int, int, int]] = {
    "q8_1": (9, 32, 36),
    "q8_k": (15, 256, 292),
    "iq2_xxs": (16, 256, 66),
    "iq2_xs": (17, 256, 74),
    "iq3_xxs": (18, 256, 98),
    "iq1_s": (19, 256, 50),
    "iq3_s": (21, 256, 110),
    "iq2_s": (22, 256, 82),
    "i8": (24, 1, 1),
    "i16": (25, 1, 2),
    "i32": (26, 1, 4),
    "i64": (27, 1, 8),
    "f64": (28, 1, 8),
    "iq1_m": (29, 256, 56),
    "q1_0": (41, 128, 18),
    "q2_0": (42, 64, 18),
}
"""name -> (ggml type id, elements of a block, bytes of a block), as `ggml.h` and `ggml-common.h` have them."""

SOURCES: dict[str, int] = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "bool": 1, "f8_e4m3": 1, "f8_e5m2": 1, "f8_e8m0": 1}
"""name -> bytes of a value; no GGUF holds these, checkpoints do."""

"""Megabytes of f32 input a second for each quant, against ggml_quantize_chunk in the same run.

usage: python benchmarks/quantize.py [--kernels avx512|avx2|portable] [--megabytes 8] [--rounds 7] [--imatrix] [--json] [QUANT ...]

One thread, CPU time. A round times ggml and then us on the same values (gaussian, scale 0.02), so that both see the same
machine; the table has the medians over the rounds, and the median, smallest and largest ratio. f16 and bf16 are the same
values from those types, still in bytes of f32. `threads` is the gain of two threads over one, by the clock.
With --imatrix both sides get an importance matrix of random squares, in rows of 4096, and only the quants that take one run.
MODELBUILD_LLAMA_CPP names a llama.cpp build (a folder with libggml-base.so somewhere below); without it only our side runs.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def ggml() -> ctypes.CDLL | None:
    folder = os.environ.get("MODELBUILD_LLAMA_CPP")
    found = sorted(Path(folder).rglob("libggml-base.so")) if folder else []
    if not found:
        return None
    lib = ctypes.CDLL(str(found[0]))
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_init.argtypes = [ctypes.c_int]
    return lib


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.thread_time, at_least: float = 0.02) -> float:
    """Time of one call, over as many as take long enough to be measured, after one that touches the memory."""
    work()
    calls = 1
    while True:
        start = clock()
        for _ in range(calls):
            work()
        spent = clock() - start
        if spent >= at_least:
            return spent / calls
        calls *= 4


def on_threads(count: int, work: Callable[[int], Any]) -> None:
    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", choices=["avx512", "avx2", "portable", "numpy"])
    parser.add_argument("--megabytes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--imatrix", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("quants", nargs="*")
    options = parser.parse_args()
    if options.kernels:
        os.environ["MODELBUILD_KERNELS"] = options.kernels

    from modelbuild.tensors import packing, quants

    lib = ggml()
    count = options.megabytes * (1 << 18)
    values = (np.random.default_rng(0).standard_normal(count) * 0.02).astype(np.float32)
    sources: dict[str, Any] = {"f32": values}
    for dtype in ("f16", "bf16"):
        sources[dtype] = np.zeros(count, np.uint16)
        packing.quantize(dtype, "f32", values, sources[dtype])
    megabytes = values.nbytes / 1e6

    unknown = [name for name in options.quants if name not in quants.names()]
    if unknown:
        sys.exit(f"unknown quant: {', '.join(unknown)}; known: {', '.join(quants.names())}")
    names = options.quants or sorted(quants.names(), key=lambda name: quants.get(name).ggml_type)
    weights, columns = None, 0
    if options.imatrix:
        columns = 4096
        weights = (np.random.default_rng(1).standard_normal(columns) ** 2).astype(np.float32)
        names = [name for name in names if quants.takes_weights(name)]
    if not options.json:
        with_imatrix = ", with an importance matrix" if options.imatrix else ""
        print(
            f"{packing.instruction_set()}, {options.megabytes} MiB of f32, {options.rounds} rounds{with_imatrix}; MB/s"
        )
        print(
            f"{'quant':8}{'ggml':>8}{'ours':>8}{'ratio':>8}{'min':>7}{'max':>7}{'f16':>8}{'bf16':>8}{'dequant':>9}{'threads':>9}"
        )
    for name in names:
        form = quants.get(name)
        out = np.zeros(count // form.block * form.bytes, np.uint8)
        theirs: list[float] = []
        ours: dict[str, list[float]] = {dtype: [] for dtype in sources}
        unpacked: list[float] = []
        gains: list[float] = []
        floats = np.zeros(count, np.float32)
        row = columns or form.block
        outs = [out, np.zeros_like(out)]

        def pack(index: int, name: str = name, outs: list[Any] = outs) -> None:
            for _ in range(2):
                packing.quantize(name, "f32", values, outs[index], weights, columns)

        for _ in range(options.rounds):
            if lib is not None and name not in ("f32", "f16", "bf16"):
                lib.ggml_quantize_init(form.ggml_type)
                matter = None if weights is None else weights.ctypes.data
                arguments = (form.ggml_type, values.ctypes.data, out.ctypes.data, 0, count // row, row, matter)
                theirs.append(seconds(lambda arguments=arguments: lib.ggml_quantize_chunk(*arguments)))
            for dtype, source in sources.items():

                def quantize(name: str = name, dtype: str = dtype, source: Any = source, out: Any = out) -> None:
                    packing.quantize(name, dtype, source, out, weights, columns)

                ours[dtype].append(seconds(quantize))
            unpacked.append(seconds(lambda n=name, o=out, f=floats: packing.dequantize(n, o, f)))
            one = seconds(lambda work=pack: on_threads(1, work), time.perf_counter)
            two = seconds(lambda work=pack: on_threads(2, work), time.perf_counter)
            gains.append(2 * one / two)
        ratios = [a / b for a, b in zip(theirs, ours["f32"], strict=False)]
        line = {
            "quant": name,
            "imatrix": options.imatrix,
            "kernels": packing.instruction_set(),
            "ggml": megabytes / statistics.median(theirs) if theirs else None,
            **{("ours" if d == "f32" else d): megabytes / statistics.median(spent) for d, spent in ours.items()},
            "ratio": statistics.median(ratios) if ratios else None,
            "ratio_min": min(ratios, default=None),
            "ratio_max": max(ratios, default=None),
            "dequantize": megabytes / statistics.median(unpacked),
            "two_threads": statistics.median(gains),
        }
        if options.json:
            print(json.dumps(line), flush=True)
            continue
        shown = [
            *(f"{line[key]:.0f}" if line[key] else "-" for key in ("ggml", "ours")),
            *(f"{line[key]:.1f}" if line[key] else "-" for key in ("ratio", "ratio_min", "ratio_max")),
            *(f"{line[key]:.0f}" for key in ("f16", "bf16", "dequantize")),
            f"{line['two_threads']:.2f}",
        ]
        widths = (8, 8, 8, 7, 7, 8, 8, 9, 9)
        print(f"{name:8}" + "".join(f"{text:>{width}}" for text, width in zip(shown, widths, strict=True)), flush=True)


if __name__ == "__main__":
    main()

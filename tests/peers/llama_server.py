"""llama.cpp's server (xllamacpp's) with the arguments of `llama-server` that modelbuild gives it; runs in the peers' Python."""

from __future__ import annotations

import argparse
import threading

import xllamacpp

parser = argparse.ArgumentParser()
parser.add_argument("-m", required=True)
parser.add_argument("--host", required=True)
parser.add_argument("-c", type=int, required=True)
parser.add_argument("-np", type=int, required=True)
parser.add_argument("-t", type=int, default=1)
parser.add_argument("--lora", action="append", default=[])
for flag in ("--jinja", "--no-warmup", "--no-webui"):
    parser.add_argument(flag, action="store_true")
given = parser.parse_args()
params = xllamacpp.CommonParams()
params.model.path = given.m
params.hostnames = [given.host]
params.n_ctx = given.c
params.n_parallel = given.np
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.t
params.warmup = False
adapters = []
for path in given.lora:
    adapters.append(xllamacpp.CommonAdapterLoraInfo())
    adapters[-1].path, adapters[-1].scale = path, 1.0
params.lora_adapters = adapters
server = xllamacpp.Server(params)
threading.Event().wait()

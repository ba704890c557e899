"""Run by the peers' Python, once a file: exit code 0 if llama.cpp's runtime (xllamacpp) loads the GGUF file named."""

import os
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 64
params.n_parallel = 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.warmup = False
params.verbosity = 0
try:
    xllamacpp.Server(params)
except BaseException:
    os._exit(1)
os._exit(0)

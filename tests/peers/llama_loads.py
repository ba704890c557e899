"""Run by the peers' Python, once a file: exit code 0 if llama.cpp's runtime (xllamacpp) loads the GGUF file named, 3 if it refuses it."""

from __future__ import annotations

import sys

import serving

try:
    serving.serve(sys.argv[1], context=64)
except RuntimeError:
    sys.exit(3)

"""Checkpoints and GGUF files of other tools, and their conversion as in llama.cpp."""

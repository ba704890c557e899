"""Tensors, the files that hold them and the recipes that make new ones; no caching, no Hugging Face, no Ollama."""

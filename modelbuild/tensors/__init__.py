"""Tensors and the files that hold them: what shall be made of their bytes, and how; no caching, no Hugging Face, no Ollama."""

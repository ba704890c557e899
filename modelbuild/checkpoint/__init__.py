"""Weights as people have them, Hugging Face folders and GGUF files, and what llama.cpp makes of them."""

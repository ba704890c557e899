"""A tokenizer's files, and the vocabulary that llama.cpp makes of them."""

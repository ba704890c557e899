"""Adapters as people have them (PEFT, MLX, GGUF): what they change of a model, as a layer of its own or in its weights."""

"""make for local language models: weights, Modelfiles and one ModelBuild.toml in, models that Ollama and llama.cpp run out."""

__version__ = "0.1.0"

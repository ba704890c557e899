"""make for local language models: it turns weights, Modelfiles and one ModelBuild.toml into models that Ollama and llama.cpp run."""

__version__ = "0.1.0"

"""Ollama's names, manifests, Modelfiles and templates, and a models folder as Ollama reads it."""

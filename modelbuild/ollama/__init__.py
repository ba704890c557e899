"""Ollama's own words and bytes: names, manifests, Modelfiles, templates, and a models folder as it is read."""

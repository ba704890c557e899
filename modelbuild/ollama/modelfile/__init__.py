"""Modelfiles: read as Ollama reads them, with warnings about likely mistakes, and printed back."""

from modelbuild.ollama.modelfile.meaning import parse as parse
from modelbuild.ollama.modelfile.printing import render as render

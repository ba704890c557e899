"""Modelfiles: read as Ollama reads them, with a word where one walks into a trap, and printed back."""

from modelbuild.ollama.modelfile.meaning import parse as parse
from modelbuild.ollama.modelfile.printing import render as render

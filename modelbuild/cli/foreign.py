"""Words of other tools that people type here, and what does the same here: of Ollama, llama.cpp, make, bake and DVC."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelbuild.errors import Error

VERBS = {
    # Ollama's
    "ollama": "that is a program of its own: `ollama {names}`",
    "create": "a Modelfile is built by `modelbuild -f Modelfile -t {names}`; a ModelBuild.toml by `modelbuild`",
    "run": "Ollama runs models: `ollama run {names}`",
    "serve": "Ollama serves models: `ollama serve`; `modelbuild show NAME` names the file for `llama-server -m`",
    "stop": "Ollama stops models: `ollama stop {names}`; Ctrl-C stops a build",
    "ps": "Ollama lists running models: `ollama ps`; `modelbuild list` lists the models of the project",
    "pull": "fetching from a registry is not supported yet: `ollama pull {names}`, then FROM finds it",
    "push": "pushing to a registry is not supported yet: `ollama push {names}`",
    "cp": "Ollama copies models: `ollama cp {names}`; a model has more names by `tags` in ModelBuild.toml",
    "mv": "a model is renamed by `name` or `tag` in ModelBuild.toml; `modelbuild clean --stale` removes the old name",
    "rm": "`ollama rm {names}` removes a model, `modelbuild clean` all models of the project, "
    "`modelbuild clean --stale` those that it no longer declares",
    "ls": "did you mean the command 'list'?",
    "signin": "registries are not supported yet: `ollama signin`",
    # llama.cpp's
    "quantize": '`modelbuild -f Modelfile -q TYPE` quantizes a Modelfile\'s model; in ModelBuild.toml it is `quantize = "TYPE"`',
    "convert": 'a folder of safetensors is converted where it is named: `from = "./DIR"` in ModelBuild.toml, FROM ./DIR in a '
    "Modelfile; `modelbuild init` writes a ModelBuild.toml for this folder",
    "imatrix": 'computing an importance matrix is not supported: `llama-imatrix` makes one, `imatrix = "FILE"` uses it',
    "merge": "merging adapters or models is not supported yet",
    "split": "splitting a GGUF file is not supported: `llama-gguf-split` does it",
    "perplexity": "`modelbuild quality` compares the weights; `llama-perplexity` measures the model",
    # make's, ninja's, bake's, DVC's
    "all": "`modelbuild` without a target builds everything, or what `default` in [project] says",
    "make": "`modelbuild` builds, with targets behind it",
    "bake": "`modelbuild` builds, with targets behind it; `modelbuild -n`, `modelbuild graph` and `modelbuild list --json` "
    "show what it would do",
    "rebuild": "`modelbuild` builds what has changed, `modelbuild --force` everything",
    "install": "`modelbuild` builds and puts the models into the models folder",
    "repro": "`modelbuild` builds what has changed",
    "status": "`modelbuild list` says what is built, `modelbuild -n` what would run",
    "add": "add a table [model.NAME] to ModelBuild.toml; `modelbuild init` writes one for what lies here",
    "new": "did you mean the command 'init'?",
    "plan": "`modelbuild -n` prints what would run, `modelbuild graph` the steps",
    "dag": "did you mean the command 'graph'?",
    "diff": "did you mean the command 'explain'?",
    "why": "did you mean the command 'explain'?",
    "info": "did you mean the command 'show'?",
    "inspect": "did you mean the command 'show'?",
    "validate": "did you mean the command 'check'?",
    "verify": "did you mean the command 'check'?",
    "lint": "did you mean the command 'check'?",
    "test": "did you mean the command 'check'?",
    "gc": "`modelbuild clean --stale` removes models that are no longer declared, `modelbuild clean --cache` empties the cache",
    "version": "did you mean the option '--version'?",
}
"""Verb -> a hint; `{names}` stands for the words behind the verb."""

SAME = {
    "start": "serve", "remove": "rm", "delete": "rm", "uninstall": "rm", "llama-quantize": "quantize",
    "convert_hf_to_gguf.py": "convert", "convert-hf-to-gguf": "convert", "convert_hf_to_gguf": "convert", "import": "convert",
    "llama-imatrix": "imatrix", "prune": "gc", "refresh": "repro", "update": "repro", "fetch": "pull", "download": "pull",
    "login": "signin", "copy": "cp", "rename": "mv", "everything": "all", "tree": "dag", "describe": "info",
}  # fmt: skip
"""Other words for the same."""

OPTIONS = {
    "--print": "`modelbuild -n` prints what would run, `modelbuild graph` the steps, `modelbuild list --json` the models",
    "--just-print": "did you mean '--dry-run'?",
    "--always-make": "did you mean '--force'?",
    "-B": "did you mean '--force'?",
    "--no-cache": "did you mean '--force'?",
    "--directory": "did you mean '-C'?",
    "--parallel": "did you mean '--jobs'?",
    "--debug": "did you mean '--verbose'?",
    "--silent": "did you mean '--quiet'?",
    "--tag": "did you mean '--name'?",
    "--push": "pushing to a registry is not supported yet: `ollama push NAME`",
    "--pull": "fetching from a registry is not supported yet: `ollama pull NAME`, then FROM finds it",
    "--outtype": "a model's `outtype` says it: --set MODEL.outtype=bf16",
    "--imatrix": "a model's `imatrix` says it: --set MODEL.imatrix=FILE",
    "--allow-requantize": "a model's `allow_requantize` says it: --set MODEL.allow_requantize=true",
    "--metadata": "a model's `metadata` says it, in ModelBuild.toml",
    "--model-name": "a model's `metadata` says it, in ModelBuild.toml: metadata = { \"general.name\" = \"…\" }",
    "--mmproj": "a model's `projector` says it: --set MODEL.projector=FILE",
    "--tensor-type": "a mix says it: `tensors` in a table [ftype.NAME]",
    "--pure": "a mix says it: `pure` in a table [ftype.NAME]",
    "--leave-output-tensor": "a mix says it: `leave_output_tensor` in a table [ftype.NAME]",
    "--output-tensor-type": "a mix says it: `output_tensor_type` in a table [ftype.NAME]",
    "--token-embedding-type": "a mix says it: `token_embedding_type` in a table [ftype.NAME]",
}  # fmt: skip
"""Option -> a hint."""


ARGUMENTS = {
    "clean": "`clean` takes no targets: `ollama rm NAME` removes one model, `modelbuild clean --stale` those that are no longer "
    "declared; `modelbuild --cache DIR clean --cache` empties another cache",
    "init": "`modelbuild -C DIR init` looks in another folder",
}
"""Command that takes no words -> a hint for those who give it some."""


def verb(words: Sequence[str]) -> Error | None:
    """What to say where the first word is a verb of another tool, and no target; None where it is none."""
    first, *others = words
    hint = VERBS.get(SAME.get(first, first))
    if hint is None and re.match("clean[-_:]", first):
        others, hint = [re.sub("clean[-_:]", "", first)], VERBS["rm"]
    if hint is None:
        return None
    return Error(f"'{first}' is not a command", hint=hint.replace("{names}", " ".join(others) or "NAME"))

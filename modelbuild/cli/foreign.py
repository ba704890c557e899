"""Words of other tools (Ollama, llama.cpp, make, bake, DVC), and the same task here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelbuild.cli.invocation import Invocation, is_command
from modelbuild.errors import Error, Errors

VERBS = {
    # Ollama's
    "ollama": "Ollama is a separate program: `ollama {names}`",
    "create": "`modelbuild -f Modelfile -t {names}` builds a Modelfile; a model of a ModelBuild.toml is built by its name alone",
    "serve": "Ollama serves models: `ollama serve`; `modelbuild show NAME` names the file for `llama-server -m`",
    "stop": "Ollama stops models: `ollama stop {names}`; Ctrl-C stops a build",
    "ps": "Ollama lists running models: `ollama ps`; `modelbuild list` lists the models of the project",
    "fetch": "did you mean the command 'pull'?",
    "publish": "did you mean the command 'push'?",
    "mv": "`modelbuild cp`, then `modelbuild rm`; in ModelBuild.toml `name` or `tag` renames a model, and "
    "`modelbuild clean --stale` removes the old name",
    "remove": "`modelbuild rm {names}` removes a model, `modelbuild clean` all models of the project, "
    "`modelbuild clean --stale` those that it no longer declares",
    "ls": "`modelbuild list` lists the models of the project, `modelbuild list --installed` those of the models folder",
    "tag": "`modelbuild cp` gives an installed model another name, `modelbuild push NAME --to HOST/NAMESPACE/NAME` pushes it to one",
    "signin": "`modelbuild whoami` shows the key that Ollama's registry knows you by; for others, `docker login HOST`",
    # llama.cpp's
    "quantize": '`modelbuild {weights} -q {type} -o {file}` quantizes weights; in ModelBuild.toml it is `quantize = "TYPE"`',
    "convert": '`modelbuild {weights} -o {file}` converts weights; in ModelBuild.toml it is `from = "{weights}"`',
    "imatrix": 'with llama.cpp in [tools], `imatrix = { text = "FILE" }` has an importance matrix made; `imatrix = "FILE"` uses one',
    "merge": '`adapters` with mode = "merge" merges a LoRA into the weights; merging models is not supported',
    "split": "`modelbuild export NAME FOLDER --split 50GB` writes split GGUF files",
    "perplexity": '`modelbuild quality` compares the weights; with llama.cpp in [tools], `gate = { kld = 0.05, text = "FILE" }` '
    "compares the answers",
    # make's, ninja's, bake's, DVC's
    "all": "`modelbuild` without a target builds everything, or what `default` in [project] says",
    "make": "`modelbuild` builds, with targets after it",
    "bake": "`modelbuild` builds, with targets after it; `modelbuild -n`, `modelbuild graph` and `modelbuild list --json` "
    "show what it would do",
    "rebuild": "`modelbuild` builds what has changed, `modelbuild --force` everything",
    "install": "`modelbuild` builds and puts the models into the models folder",
    "repro": "`modelbuild` builds what has changed",
    "add": "add a table [model.NAME] to ModelBuild.toml; `modelbuild init` writes one for the models in this folder",
    "new": "did you mean the command 'init'?",
    "plan": "`modelbuild -n` prints what would run, `modelbuild graph --steps` the steps",
    "dag": "did you mean the command 'graph'?",
    "copy": "did you mean the command 'cp'?",
    "why": "did you mean the command 'explain'?",
    "info": "did you mean the command 'show'?",
    "inspect": "did you mean the command 'show'?",
    "validate": "did you mean the command 'check'?",
    "lint": "did you mean the command 'check'?",
    "test": "did you mean the command 'check'?",
    "fsck": "did you mean the command 'verify'?",
    "df": "did you mean the command 'du'?",
    "prune": "`modelbuild gc` removes from the cache what nothing needs, `modelbuild clean --stale` models that are no longer declared",
    # a shell's
    "completion": 'a line in ~/.bashrc switches it on: eval "$(_MODELBUILD_COMPLETE=bash_source modelbuild)"; '
    "zsh and fish have their own, zsh_source and fish_source",
    "version": "did you mean the option '--version'?",
}
"""Verb -> a hint; `{names}` stands for the words behind the verb, or `{weights}`, `{type}` and `{file}` for each of them."""

SAME = {
    "start": "serve", "delete": "remove", "uninstall": "remove", "llama-quantize": "quantize",
    "convert_hf_to_gguf.py": "convert", "convert-hf-to-gguf": "convert", "convert_hf_to_gguf": "convert", "import": "convert",
    "llama-imatrix": "imatrix", "refresh": "repro", "download": "fetch", "images": "ls", "upload": "publish",
    "login": "signin", "rename": "mv", "completions": "completion", "everything": "all", "tree": "dag", "describe": "info",
}  # fmt: skip
"""Other words for the same."""

OPTIONS = {
    "--print": "`modelbuild -n` prints what would run, `modelbuild graph --steps` the steps, `modelbuild list --json` the models",
    "--just-print": "did you mean '--dry-run'?",
    "--always-make": "did you mean '--force'?",
    "-B": "did you mean '--force'?",
    "--no-cache": "did you mean '--force'?",
    "--directory": "did you mean '-C'?",
    "--parallel": "did you mean '--jobs'?",
    "--debug": "did you mean '--verbose'?",
    "--silent": "did you mean '--quiet'?",
    "--tag": "did you mean '--name'?",
    "--push": "`modelbuild push` builds and pushes, with targets after it",
    "--pull": "`modelbuild pull NAME` downloads a model; FROM finds it then",
    "--imatrix": "use a model's `imatrix`: --set MODEL.imatrix=FILE",
    "--allow-requantize": "use a model's `allow_requantize`: --set MODEL.allow_requantize=true",
    "--metadata": "use a model's `metadata` in ModelBuild.toml",
    "--model-name": "use a model's `metadata` in ModelBuild.toml: metadata = { \"general.name\" = \"…\" }",
    "--mmproj": "use a model's `projector`: --set MODEL.projector=FILE",
    "--tensor-type": "use a mix: `tensors` in a table [ftype.NAME]",
    "--pure": "use a mix: `pure` in a table [ftype.NAME]",
    "--leave-output-tensor": "use a mix: `leave_output_tensor` in a table [ftype.NAME]",
    "--output-tensor-type": "use a mix: `output_tensor_type` in a table [ftype.NAME]",
    "--token-embedding-type": "use a mix: `token_embedding_type` in a table [ftype.NAME]",
    "--outfile": "did you mean '--output'?",
    "--outtype": "-q TYPE sets it for weights and Modelfiles, `outtype` for a model of a ModelBuild.toml: --set MODEL.outtype=bf16",
    "--type": "did you mean '--quantize'?",
    "--num-predict": "`modelbuild run TARGET` has -p num_predict=N",
    "--temp": "`modelbuild run TARGET` has -p temperature=N",
    "--load": "`modelbuild` puts what it builds into the models folder",
    "--install-completion": VERBS["completion"],
    "--show-completion": VERBS["completion"],
    "--completion": VERBS["completion"],
}  # fmt: skip
"""Option -> a hint."""


ARGUMENTS = {
    "clean": "`clean` takes no targets: `modelbuild rm NAME` removes one model, `modelbuild clean --stale` those that are no longer "
    "declared; `modelbuild --cache DIR clean --cache` empties another cache",
    "init": "`modelbuild -C DIR init` looks in another folder",
}
"""Command that takes no words -> a hint for those who give it some."""


OUTSIDE = {
    "list": "`modelbuild list --installed` lists the models of the models folder; {init}",
    "push": "name a model of the models folder: `modelbuild push NAME`; {init}",
    "export": "an installed model is exported by way of a Modelfile with the line `FROM NAME`; {init}",
}
"""Command -> a hint for those who use it where there is no project; `{init}` stands for what every command says there."""


def outside(command: str, error: Error) -> Error:
    """An error of a command; one that there is no project says what the command does without."""
    from modelbuild.session.missing import NO_PROJECT

    hint = OUTSIDE.get(command) if error.what == NO_PROJECT else None
    # Two ways out are enough.
    first = (error.hint or "").partition("; ")[0]
    return error.replace(hint=hint.replace("{init}", first)) if hint else error


def misplaced(call: Invocation, targets: Sequence[str]) -> Error | Errors | None:
    """The error if the first target is not a target, but a command, ours or another tool's."""
    error = verb(targets) if targets else None
    if error is None or not call.has_project:
        return error
    try:
        return error if call.session.words().resolve(targets[0]) is None else None
    except Error as fault:
        return Errors([error, fault])
    except Errors as faults:
        return Errors([error, *faults.errors])


def verb(words: Sequence[str]) -> Error | None:
    """The error if the first word is a verb of another tool, or a command behind options of a build; None if it is not."""
    first, *others = words
    if is_command(first):
        leave = ", or leave it out" if first == "build" else ""
        return Error(
            f"'{first}' is a command, and no target has its name",
            hint=f"write it before the options of a build: `modelbuild {first} …`{leave}",
        )
    hint = VERBS.get(SAME.get(first, first))
    if hint is None and re.match("clean[-_:]", first):
        others, hint = [re.sub("clean[-_:]", "", first)], VERBS["remove"]
    if hint is None:
        return None
    for name, text in {"names": " ".join(others) or "NAME", **_weights(others)}.items():
        hint = hint.replace(f"{{{name}}}", text)
    return Error(f"'{first}' is not a command", hint=hint)


def _weights(words: Sequence[str]) -> dict[str, str]:
    """What the words behind llama.cpp's programs are here: weights, then a file to write, and in any place a type."""
    from modelbuild.tensors import ftypes

    types = [word for word in words if ftypes.canonical(word)]
    weights, file, *_ = [*(word for word in words if word not in types), "", ""]
    if weights and not weights.endswith(".gguf") and not weights.startswith((".", "/", "~")):
        weights = f"./{weights}"
    return {"weights": weights or "./WEIGHTS", "file": file or "FILE.gguf", "type": types[0] if types else "TYPE"}

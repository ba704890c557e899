"""The files of an adapter: which of a folder's they are, and what a folder without any is."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from modelbuild.errors import Error
from modelbuild.words import listed

CONFIG = "adapter_config.json"
PEFT, MLX = "adapter_model.safetensors", "adapters.safetensors"
GGUF = "adapter.gguf"
"""The role of a GGUF file, whatever its name."""
CARD = "README.md"
TOKENIZER = "tokenizer.json"
TOKENS = (
    TOKENIZER, "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""The files of a tokenizer, with which an adapter's folder may come."""

_CHECKPOINT = re.compile(r"checkpoint-([0-9]{1,18})")
_PART = re.compile(r"-[0-9]{5}-of-([0-9]{5})\.safetensors$")
_OTHER_FORMATS = ("adapter_model.bin", "adapters.npz", "adapter_model.pt", "adapter_model.pth")


def weights(names: Collection[str], folders: Collection[str], folder: str) -> str:
    """The weights file of an adapter's folder, given its files and folders. Raises Error where it holds no adapter, or several."""
    found = [name for name in (PEFT, MLX) if name in names]
    if len(found) > 1:
        raise Error(
            f"the folder contains two adapters, '{PEFT}' of PEFT and '{MLX}' of MLX",
            hint=f"name one of them: {folder}/{PEFT}",
        )
    if found:
        return found[0]
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if len(ggufs) == 1:
        return ggufs[0]
    if ggufs:
        raise Error("the folder contains several GGUF files", facts=[("found", listed(ggufs))], hint="name one of them")
    raise _nothing(sorted(names), folders, folder)


def _nothing(names: Sequence[str], folders: Collection[str], folder: str) -> Error:
    steps = sorted((int(match[1]), name) for name in folders if (match := _CHECKPOINT.fullmatch(name)))
    if steps:
        return Error(
            "the folder contains the checkpoints of a training run, not an adapter",
            facts=[("found", listed(name for _, name in steps))],
            hint=f"name one of them, such as the last: {folder}/{steps[-1][1]}",
        )
    if others := [name for name in names if name in _OTHER_FORMATS]:
        return Error(
            f"the adapter's weights are '{others[0]}', expected safetensors",
            hint=hint_to_rewrite(folder, others[0]),
        )
    if any(name.startswith("model") and name.endswith(".safetensors") for name in names):
        return Error("the folder contains a model, not an adapter", hint="name it in FROM")
    others = [name for name in names if name.endswith(".safetensors")]
    if part := next((name for name in others if is_part(name)), None):
        return in_parts(part)
    if len(others) == 1 and CONFIG in names:
        return Error(
            f"the adapter's weights are '{others[0]}', expected {PEFT}", hint=f"name the file: {folder}/{others[0]}"
        )
    return Error(
        f"the folder contains no adapter: expected {PEFT} (PEFT), {MLX} (MLX) or a GGUF file",
        facts=[("found", listed(names))] if names else [],
    )


def is_part(name: str) -> bool:
    """Whether a file is one of several that hold an adapter between them."""
    match = _PART.search(name)
    return match is not None and match[1] != "00001"


def in_parts(name: str) -> Error:
    """The error for an adapter in several files."""
    return Error(
        f"the adapter is in several files, and '{name}' is one of them",
        hint="save it in one: with PEFT, model.save_pretrained(folder)",
    )


def hint_to_rewrite(folder: str, name: str) -> str | None:
    """How to write the tensors of a pickle or of NumPy's archive as safetensors; None for any other file."""
    if name.endswith((".bin", ".pt", ".pth")):
        why, library, made = "pickles can run code and are not read", "torch", PEFT
        found = "torch.load(sys.argv[1], map_location='cpu', weights_only=True).items()"
        tensors = f"{{k: v.clone().contiguous() for k, v in {found}}}"
    elif name.endswith(".npz"):
        why, library, made = "archives of NumPy are not read", "numpy", MLX
        tensors = "dict(numpy.load(sys.argv[1]))"
    else:
        return None
    import shlex

    # The name is an argument: within the script its quotes would be code.
    script = f"import sys, {library}; from safetensors.{library} import save_file; save_file({tensors}, sys.argv[2])"
    command = f'cd {shlex.quote(folder)} && python3 -c "{script}" {shlex.quote(name)} {made}'
    return f"{why}; where {library} and safetensors are installed, this writes it anew:\n{command}"

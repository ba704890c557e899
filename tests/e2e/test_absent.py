"""A machine without the weights: adapters and GGUF files that the lock pins, and what was made of them, by the remote cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests import adapters, zoo
from tests.e2e.test_remote_cache import Machine, pointer

CASE = zoo.cases("llama")["bf16"]
LARGE = (".safetensors", ".gguf")

ADAPTERS = """\
[cache]
remote = "file://{share}"
[model.merged]
from = "./base"
quantize = "q8_0"
matrix.voice = ["peft", "mlx"]
adapters = [{{ path = "${{matrix.voice}}", mode = "merge" }}]
[model.layered]
from = "./base"
adapters = [{{ path = "peft" }}, {{ path = "mlx/adapters.safetensors", scale = 0.5 }}]
"""


class Clone(Machine):
    """A clone of a project, whose large files can be left out."""

    def __init__(self, folder: Path, toml: str) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        (folder.parent / "share").mkdir(exist_ok=True)
        super().__init__(folder, "")
        self.write("ModelBuild.toml", toml.format(share=folder.parent / "share"))

    def large(self) -> list[Path]:
        return sorted(
            path for path in self.folder.rglob("*") if path.suffix in LARGE and self.models not in path.parents
        )

    def without(self, lock_of: Clone, left: str = "nothing") -> None:
        """Take over a lock, and leave nothing or a pointer of each large file."""
        self.write("ModelBuild.lock", (lock_of.folder / "ModelBuild.lock").read_text())
        for path in self.large():
            oid = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
            path.unlink()
            if left == "pointer":
                path.write_text(pointer(oid))
            elif not list(path.parent.iterdir()):
                # Git keeps no empty folders.
                path.parent.rmdir()


def with_adapters(folder: Path, toml: str = ADAPTERS) -> Clone:
    clone = Clone(folder, toml)
    zoo.write(folder / "base", CASE)
    pairs = adapters.factors(CASE.shapes, r".*(q_proj|v_proj)")
    adapters.write_peft(folder / "peft", pairs)
    adapters.write_mlx(folder / "mlx", pairs)
    return clone


@pytest.mark.parametrize("left", ["nothing", "pointer"])
def test_adapters_need_not_be_there(tmp_path: Path, left: str) -> None:
    first, second = with_adapters(tmp_path / "first"), with_adapters(tmp_path / "second")
    first.build()
    second.without(first, left)
    second.build()
    assert second.computed == 0
    assert second.tree() == first.tree()
    assert second.build("--remote-cache", "off") == {}
    # What nobody has built names what is missing.
    second.write("ModelBuild.toml", ADAPTERS.replace("scale = 0.5", "scale = 0.25").format(share=tmp_path / "share"))
    second.build("-k", code=1)
    assert "adapters.safetensors" in second.errors and "are not here" in second.errors or "git lfs" in second.errors


def test_what_is_there_counts_before_what_the_lock_pins(tmp_path: Path) -> None:
    """The adapter of MLX was replaced by one of PEFT, which the lock does not know yet."""
    clone = with_adapters(
        tmp_path / "first", ADAPTERS.replace(', {{ path = "mlx/adapters.safetensors", scale = 0.5 }}', "")
    )
    clone.build()
    assert '"mlx/adapters.safetensors"' in (clone.folder / "ModelBuild.lock").read_text()
    (clone.folder / "mlx" / "adapters.safetensors").unlink()
    (clone.folder / "peft" / "adapter_model.safetensors").rename(clone.folder / "mlx" / "adapter_model.safetensors")
    (clone.folder / "peft" / "adapter_config.json").rename(clone.folder / "mlx" / "adapter_config.json")
    clone.build("merged:mlx")
    lock = (clone.folder / "ModelBuild.lock").read_text()
    assert '"mlx/adapter_model.safetensors"' in lock

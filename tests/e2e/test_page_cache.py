"""What a build makes leaves the memory to others."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.e2e.project import Project
from tests.tensors.test_materialize import cached, leave_cache

TOML = """
[model.chat]
from = "./weights"
[model.chat.matrix]
quantize = ["q8_0", "q5_K_M", "q4_K_M", "q6_K"]
"""


def layer(project: Project, name: str) -> Path:
    (digest,) = [each["digest"] for each in project.manifest(name)["layers"] if each["mediaType"].endswith(".model")]
    return project.models / "blobs" / digest.replace(":", "-")


def test_no_layer_stays_in_the_page_cache(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("ModelBuild.toml", TOML)
    project.checkpoint(layers=4, hidden=512, intermediate=2048)
    for _ in range(3):  # a page that the kernel has in hand at that moment stays
        # The program itself: in tests nothing is synced, and what is not synced stays.
        done = subprocess.run(project.command("--json"), check=True, capture_output=True, text=True)
        assert json.loads(done.stdout.splitlines()[-1])["tensors_reused"]
        layers = [layer(project, f"chat:{row}") for row in ("q8_0", "q5_K_M", "q4_K_M", "q6_K")]
        stay = [cached(path, path.stat().st_size // 2) for path in layers]
        if not any(stay):
            break
        leave_cache(layers[0])
        shutil.rmtree(project.models)
        shutil.rmtree(project.cache)
    assert stay == [False, False, False, False]

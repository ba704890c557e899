"""A build of many variants leaves the last of them in the page cache, and the memory to others."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.project import Project
from tests.test_materialize import cached, leave_cache

TOML = """
[model.chat]
from = "./weights"
[model.chat.matrix]
quantize = ["q8_0", "q5_K_M", "q4_K_M", "q6_K"]
"""


def layer(project: Project, name: str) -> Path:
    (digest,) = [each["digest"] for each in project.manifest(name)["layers"] if each["mediaType"].endswith(".model")]
    return project.models / "blobs" / digest.replace(":", "-")


def test_the_last_layers_alone_stay_in_the_page_cache(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("ModelBuild.toml", TOML)
    project.checkpoint(layers=4, hidden=512, intermediate=2048)
    project.build()
    assert project.summary["tensors_reused"]
    made = [e["step"].removesuffix("/model") for e in project.events if e["event"] == "step" and e["kind"] == "layer"]
    stay = {name: cached(layer(project, name), layer(project, name).stat().st_size // 2) for name in made}
    leave_cache(layer(project, made[-1]))
    assert stay == {made[0]: False, made[1]: False, made[2]: True, made[3]: True}

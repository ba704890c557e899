"""A variant as one Modelfile's commands: bases resolved, and every text as it reads back."""

from __future__ import annotations

from modelbuild.ollama import modelfile
from modelbuild.ollama.modelfile.meaning import parse
from modelbuild.session.flattened import flattened
from tests.e2e.project import Project
from tests.session.conftest import Open

TOML = r"""
[model.base]
from = "./weights"
parameters = { num_ctx = 2048, stop = ["a", " b\"c"] }
license = ["one", "two\nlines"]
[model.chat]
from = "base"
system = " You say \"\"\".\n\n"
parameters = { temperature = 0.25, use_mmap = false }
messages = [{ role = "user", content = "say:\n hi " }]
renderer = "r"
parser = "p"
requires = "0.14.0"
"""


def test_all_that_decides_reads_back(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", TOML)
    session = start()
    (output,) = session.select(["chat"]).outputs
    text = modelfile.render(flattened(session, output, lambda layer: f"./{layer.kind}.gguf"))
    found = parse(text.encode(), "Modelfile")
    assert not found.errors
    assert [line.value for line in found.from_] == ["./model.gguf"]
    assert found.system == ' You say """.\n\n'
    assert found.parameters == {"num_ctx": 2048, "stop": ["a", ' b"c'], "temperature": 0.25, "use_mmap": False}
    assert list(found.messages) == [("user", "say:\n hi ")]
    assert list(found.licenses) == ["one", "two\nlines"]
    assert (found.renderer, found.parser, found.requires) == ("r", "p", "0.14.0")

"""The map of the code, modelbuild/DESIGN.md, and the code agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import modelbuild
from tests.test_imports import sources

ROOT = Path(modelbuild.__file__).parent
TESTS = Path(__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))

ELSEWHERE = {
    "_contain": "test_contained.py",
    **dict.fromkeys(("steps.tool", "steps.whole"), "e2e/test_tools.py"),
    "tools": "tools/test_tools.py",
    "tools.*": "tools/test_tools.py",
    "cli.profiled": "e2e/test_profile.py",
    "cli.pages._page": "cli/pages/test_graph.py",
    "checkpoint.architectures._deepstack": "checkpoint/architectures/test_qwen3_vl.py",
    "plan.dividing": "plan/test_parts.py",
    "plan.planner": "plan/test_plan.py",
    "session.cluster.dask_worker": "e2e/test_cluster.py",
    **dict.fromkeys(("session.missing", "session.nearest"), "session/test_session.py"),
    "project.mistakes": "project/test_schema.py",
    **dict.fromkeys(("session.shared", "session.exchanging"), "e2e/test_remote_cache.py"),
    "project.remote_cache": "project/test_caching.py",
    **dict.fromkeys(("sharing.line", "sharing.uploads"), "sharing/test_cache.py"),
    "sharing.parts": "sharing/test_gathering.py",
    "engine.model_side": "engine/test_build.py",
    "__main__": "cli/test_main.py",
    "cli.commands.*": "cli/test_commands.py",
    "ollama.modelfile": "ollama/modelfile/test_meaning.py",
    # Registries: a folder is tested as one, each of its files by the same cases.
    **dict.fromkeys(
        (
            f"checkpoint.adapters.{name}"
            for name in ("adapter", "checked", "gguf", "peft", "reading", "tensors", "trained")
        ),
        "attacks/test_adapter_lies.py",
    ),
    **dict.fromkeys(
        (f"checkpoint.adapters.{name}" for name in ("factors", "mlx", "places")), "checkpoint/adapters/test_layer.py"
    ),
    "checkpoint.adapters.proof": "e2e/test_adapters.py",
    "session.applied": "e2e/test_adapters.py",
    "plan.restored": "e2e/test_export.py",
    **dict.fromkeys(("cli.fetched", "session.fetching", "session.updating"), "e2e/test_fetching.py"),
    "session.hugging_face": "e2e/test_hugging_face.py",
    "checkpoint.architectures._experts": "steps/test_zoo.py",
    "checkpoint.architectures._gated_delta": "checkpoint/architectures/test_qwen3_5.py",
    "checkpoint.architectures._mamba2": "checkpoint/architectures/test_granitemoehybrid.py",
    "checkpoint.architectures._short_convolution": "checkpoint/architectures/test_lfm2.py",
    "checkpoint.architectures._dense_first": "checkpoint/architectures/test_glm4_moe.py",
    "checkpoint.architectures._mla": "checkpoint/architectures/test_deepseek2.py",
    "checkpoint.architectures._sections": "checkpoint/architectures/test_qwen2_vl.py",
    "checkpoint.architectures._loads": "checkpoint/test_loadable.py",
    "checkpoint.architectures._tiled_values": "checkpoint/architectures/test_qwen3_5.py",
    "checkpoint.parts.draft": "plan/test_sides.py",
    "checkpoint.parts": "plan/test_sides.py",
    "checkpoint.parts.projector": "plan/test_sides.py",
    "checkpoint.projectors": "checkpoint/test_clip.py",
    "checkpoint.projectors.*": "steps/test_towers.py",
    "remotes": "remotes/test_remotes.py",
    "shapes": "shapes/test_shapes.py",
    "shapes.*": "shapes/test_shapes.py",
    "steps": "steps/test_steps.py",
    "steps._inputs": "steps/test_steps.py",
    "ollama.chat_templates": "ollama/chat_templates/test_families.py",
    "ollama.chat_templates.*": "ollama/chat_templates/test_families.py",
    "tensors.products": "tensors/operations/test_merge.py",
    "tensors.operations._nibbles": "tensors/operations/test_mxfp4.py",
    "tensors.quants.*": "tensors/quants/test_vectors.py",
}
"""Module below modelbuild that has no test file of its name -> where it is tested; `folder.*` is each module of a folder."""


def flat(text: str) -> str:
    """A text on one line, so that it reads the same however it is wrapped."""
    return " ".join(text.split())


def first_sentence(docstring: str) -> str:
    """All up to the first full stop that ends a word: that of `ModelBuild.toml` does not."""
    found = re.match(r".*?\.(?=\s|$)", flat(docstring))
    assert found, f"no sentence: {docstring!r}"
    return found[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_holds_what_each_package_says_of_itself(package: str) -> None:
    docstring = ast.get_docstring(ast.parse(sources()[f"modelbuild.{package}"]))
    assert docstring, f"the package {package} has no docstring"
    assert first_sentence(docstring) in flat((ROOT / "DESIGN.md").read_text())


def test_the_map_names_every_room_of_a_package() -> None:
    rows = dict(re.findall(r"^\| `(\w+)/` \|[^|]*\|([^|]*)\|$", (ROOT / "DESIGN.md").read_text(), re.MULTILINE))
    assert sorted(rows) == PACKAGES
    for package, row in rows.items():
        files = {path.stem if path.is_file() else f"{path.name}/" for path in (ROOT / package).iterdir()}
        rooms = {name for name in files if not name.startswith(("_", ".")) and name != "__pycache__/"}
        named = set(re.findall(r"`([\w/]+)`", row))
        assert sorted(rooms - named) == [] == sorted(named - rooms - {"native/"}), package


def untested() -> set[str]:
    """The modules without a test file of their name. A package whose `__init__` holds its sentence alone is none."""
    found = set()
    for module, text in sources().items():
        name = module.removeprefix("modelbuild").removeprefix(".")
        folder, _, last = name.replace(".", "/").rpartition("/")
        is_file = (ROOT / folder / f"{last}.py").is_file()
        if not name or (not is_file and len(ast.parse(text).body) == 1):
            continue
        if not (TESTS / folder / f"test_{last.strip('_')}.py").is_file():
            found.add(name)
    return found


def test_every_module_has_a_test_file_of_its_name_or_it_is_said_where_it_is_tested() -> None:
    known = {name for name in untested() if name in ELSEWHERE or f"{name.rpartition('.')[0]}.*" in ELSEWHERE}
    assert sorted(untested() - known) == []


def test_what_is_said_of_tests_elsewhere_still_holds() -> None:
    needed = untested()
    needed |= {f"{name.rpartition('.')[0]}.*" for name in needed}
    assert sorted(ELSEWHERE.keys() - needed) == []
    assert [where for where in ELSEWHERE.values() if not (TESTS / where).is_file()] == []


def test_a_sentence_ends_with_a_full_stop_behind_a_word() -> None:
    assert first_sentence("What a ModelBuild.toml\nsays. And that.") == "What a ModelBuild.toml says."

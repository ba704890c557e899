"""What an install brings along is what the package imports, and docs/dependencies.md says why."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from tests.test_imports import parsed, sources

ROOT = Path(__file__).parents[1]
MODULES = {"pyyaml": "yaml", "tomli-w": "tomli_w"}
"""Where a package is imported by another name than its own."""


def declared() -> set[str]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {re.split(r"[<>=]", line)[0] for line in table["project"]["dependencies"]}


def optional() -> set[str]:
    """What extras bring along, and is imported only where it is used. The program of `run` is started."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {re.split(r"[<>=]", line)[0] for extra in ("hf", "remote", "dask") for line in table[extra]}


def imported() -> set[str]:
    """The modules of other packages that ours import, also inside functions."""
    found = set()
    for text in sources().values():
        for node in ast.walk(parsed(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"modelbuild", "_typeshed"}


def test_every_dependency_is_imported_and_nothing_else() -> None:
    assert imported() == {MODULES.get(name, name) for name in declared() | optional()}


def test_the_page_says_why_each_is_there() -> None:
    reasons, _, _ = (ROOT / "docs/dependencies.md").read_text().partition("\n## ")
    assert set(re.findall(r"^\| ([\w-]+) \| .+ \|$", reasons, re.MULTILINE)) - {"package"} == declared() | optional()


def brought_along(package: str) -> set[str]:
    """The distributions that one brings along, and those that these bring."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        for line in metadata.requires(waiting.pop()) or []:
            name, _, condition = line.partition(";")
            name = re.split(r"[^\w-]", name)[0]
            if "extra ==" not in condition and name not in found and list(metadata.Distribution.discover(name=name)):
                found.add(name)
                waiting.append(name)
    return found


USES_THE_LIBRARY = """
import json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None  # an import of it fails
from modelbuild.checkpoint.tokenizers.library import BoundedTokenizer
from tests.checkpoint.tokenizers.folders import tiny
data = tiny(added_tokens=[])
known = BoundedTokenizer(data, "tokenizer.json")
assert known.decoded(known.ids_with_special("the  end")) == "the  end"
assert known.pieces("the  end") == ["the", "\\u0120", "\\u0120end"]
"""


def test_what_the_tokenizers_library_brings_along_may_be_left_out() -> None:
    """As docs/dependencies.md says: none of it is imported."""
    others = {name for each in declared() - {"tokenizers"} for name in {each, *brought_along(each)}}
    alone = {name.replace("-", "_") for name in brought_along("tokenizers") - others}
    assert {"huggingface_hub", "tqdm"} <= alone
    run = subprocess.run(
        [sys.executable, "-c", USES_THE_LIBRARY, json.dumps(sorted(alone))], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr

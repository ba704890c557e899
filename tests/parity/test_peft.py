"""What two versions of PEFT make of small checkpoints is what we make of them. UPDATE_GOLDEN=1 records it for the default suite."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.checkpoint.adapters.files import CONFIG, PEFT
from tests import peft, zoo
from tests.checkpoint.adapters.test_beside_peft import check

from .peers import Process

PYTHONS = {peft.OLD: "OLD_PEFT_PYTHON", peft.NEW: "PEERS_PYTHON"}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Process]]:
    folder = tmp_path_factory.mktemp("pefts")
    found = {version: Process(folder, "merges.py", name) for version, name in PYTHONS.items()}
    yield found
    for each in found.values():
        each.close()


@pytest.mark.peer
@pytest.mark.parametrize(("version", "name"), peft.KEPT)
def test_we_merge_what_peft_merges(version: str, name: str, processes: dict[str, Process], tmp_path: Path) -> None:
    case, process = peft.CASES[name], processes[version]
    versions = process.ask(do="versions")
    assert versions.pop("peft") == version
    base, folders = zoo.write(tmp_path / "base", case.base), peft.adapter_folders(tmp_path, case)
    parts = [
        {"folder": str(folder), "config": config, "scale": scale}
        for folder, config, scale in zip(folders, case.configs, case.scales, strict=False)
    ]
    dtype = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}[case.base.dtype]
    answer = process.ask(do="merge", base=str(base), dtype=dtype, merged=str(tmp_path / "merged"), adapters=parts)
    assert answer["error"] is None
    changed = peft.changed(base, tmp_path / "merged")
    check(case, base, folders, changed, tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        keep(version, name, folders, changed)
        said = {"peft": version, **{key: value for key, value in versions.items() if key != "error"}}
        (peft.GOLDEN / version / peft.RECORD).write_text(json.dumps(said, indent=1) + "\n")


def keep(version: str, name: str, folders: list[Path], changed: peft.Tensors) -> None:
    golden = peft.GOLDEN / version / name
    shutil.rmtree(golden, ignore_errors=True)
    for folder in folders:
        (golden / folder.name).mkdir(parents=True)
        config = json.loads((folder / CONFIG).read_text())
        # The folder of the base, wherever that was.
        config["base_model_name_or_path"] = None
        (golden / folder.name / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        shutil.copy(folder / PEFT, golden / folder.name / PEFT)
    peft.save(golden / peft.MERGED, changed)

"""Our merges beside those of two versions of PEFT, as they were recorded (tests/parity/test_peft.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import peft, recipes, zoo


def check(case: peft.Golden, base: Path, folders: Sequence[Path], changed: peft.Tensors, scratch: Path) -> peft.Apart:
    """Assert that we make what PEFT made, but for the order of its sums."""
    found = peft.ours(base, folders, case.base.pre, case.scales)
    merged = peft.over(base, changed, scratch / "expected")
    theirs = peft.values(recipes.converted(merged, "source", case.base.pre), recipes.Folder(merged).leaves())
    sizes = peft.magnitudes(base, folders, case.base.pre, case.scales, scratch / "absolute")
    apart = peft.apart(found, theirs, sizes)
    assert apart.units <= 1 and apart.different <= max(1, 0.001 * apart.count), apart
    assert apart.error <= (1e-5 if case.dora else peft.SUM), apart
    return apart


@pytest.mark.parametrize(("version", "name"), peft.KEPT)
def test_a_merge_is_the_recorded_one(version: str, name: str, tmp_path: Path) -> None:
    case, golden = peft.CASES[name], peft.GOLDEN / version / name
    base = zoo.write(tmp_path / "base", case.base)
    check(case, base, peft.adapter_folders(golden, case), peft.tensors(golden / peft.MERGED), tmp_path)


def test_every_golden_is_of_a_case_and_of_the_version_of_its_folder() -> None:
    kept = {(path.parent.parent.name, path.parent.name) for path in peft.GOLDEN.glob(f"*/*/{peft.MERGED}")}
    assert kept == set(peft.KEPT)
    for version in (peft.OLD, peft.NEW):
        assert peft.recorded(version)["peft"] == version


def test_the_versions_are_those_that_the_peers_have() -> None:
    script = (Path(__file__).parents[3] / ".ci/peers").read_text()
    assert f"peft=={peft.NEW}" in script and f"old_peft={peft.OLD}\n" in script


def test_small_changes_of_the_product_are_seen(tmp_path: Path) -> None:
    case = peft.CASES["plain"]
    base = zoo.write(tmp_path / "base", case.base)
    golden = peft.GOLDEN / peft.NEW / "plain"
    folders, changed = peft.adapter_folders(golden, case), peft.tensors(golden / peft.MERGED)
    one = peft.Golden(case.base, case.configs, (1.01,))
    with pytest.raises(AssertionError):
        check(one, base, folders, changed, tmp_path)

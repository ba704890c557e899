"""Objects that other packages offer by entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild import plugins
from modelbuild.errors import Error

GROUP = "modelbuild.of-a-test"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, as pip would fill it."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, package: str, value: str, name: str = "Thing", version: str = "1.2") -> None:
    info = site / f"{package}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {value}\n")


def test_what_a_package_offers_is_found_by_name_and_imported_on_demand(site: Path) -> None:
    install(site, "first", "json:dumps")
    found = plugins.find(GROUP, "Thing")
    assert found is not None
    assert found.package == "first 1.2"
    import json

    assert found.load() is json.dumps
    assert plugins.find(GROUP, "Other") is None
    assert plugins.find("another.group", "Thing") is None


def test_two_packages_that_offer_the_same_are_an_error(site: Path) -> None:
    install(site, "first", "json:dumps")
    install(site, "second", "json:loads")
    with pytest.raises(Error, match="2 packages provide 'Thing', expected one") as caught:
        plugins.find(GROUP, "Thing")
    assert caught.value.facts == (("packages", "first 1.2, second 1.2"),)


def test_what_is_no_longer_in_modelbuild_is_said_to_be_in_extend(site: Path) -> None:
    install(site, "first", "modelbuild.nowhere:x")
    found = plugins.find(GROUP, "Thing")
    assert found is not None
    with pytest.raises(Error) as caught:
        found.load()
    assert caught.value.hint == "what a package may import of modelbuild is in modelbuild.extend, and nothing else"


@pytest.mark.parametrize(
    ("value", "what"),
    [("nowhere_at_all:x", "ModuleNotFoundError: No module named 'nowhere_at_all'"), ("json:nothing", "AttributeError")],
)
def test_what_cannot_be_imported_is_named_with_its_package(site: Path, value: str, what: str) -> None:
    install(site, "first", value)
    found = plugins.find(GROUP, "Thing")
    assert found is not None
    with pytest.raises(Error) as caught:
        found.load()
    assert caught.value.what.startswith(f"'Thing' of the package 'first 1.2' cannot be imported: {what}")
    assert caught.value.facts == (("entry point", f"{GROUP}: Thing = {value}"),)

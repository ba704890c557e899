"""What a worker does with tasks that are not as they should be. That it makes the right bytes, test_submitting.py shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.engine.action import Action, ActionResult
from modelbuild.errors import Error
from modelbuild.session.cluster import serving
from modelbuild.session.cluster.serving import Means, Workshop
from modelbuild.session.cluster.task import Answer, Task
from modelbuild.session.settings import Settings
from modelbuild.tensors.recipe import Recipe
from tests.tensors.made import ARCHITECTURE


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    (tmp_path / "share").mkdir()
    found = Workshop(Means(str(tmp_path / "cache"), f"file://{tmp_path}/share", 1 << 20, 1))
    yield found
    found.close()


def task(**parts: object) -> Task:
    recipe = ActionResult(sha256(b"recipe"), 6)
    return Task(Action("layer", 1, "{}", (("recipe", recipe.artifact),)), "b" * 64, (recipe,))._replace(**parts)


def answer(shop: Workshop, asked: Task) -> Answer:
    return Answer.decode(shop.run(asked.encode()))


def test_what_is_nowhere_is_asked_for(shop: Workshop) -> None:
    assert answer(shop, task()).missing == (sha256(b"recipe"),)


def test_what_cannot_be_run_is_an_error(shop: Workshop) -> None:
    text = Action("layer", 1, '{"text":3}', ())
    assert answer(shop, task(action=text, artifacts=())).made is not None
    assert "not a task" in str(Answer.decode(shop.run("what?")).error)


def test_a_text_is_made_and_shared_and_the_second_time_found(shop: Workshop, tmp_path: Path) -> None:
    asked = task(action=Action("layer", 1, '{"text":"Hello."}', ()), artifacts=())
    first, second = answer(shop, asked), answer(shop, asked)
    assert first.made is not None and second.made is not None
    assert first.made.result == second.made.result == ActionResult(sha256(b"Hello."), 6)
    assert first.made.written == 6 and second.made.written == 0
    assert first.host and first.remote == str(tmp_path / "share")


def test_what_could_not_be_shared_is_shared_later_and_not_made_again(shop: Workshop, tmp_path: Path) -> None:
    asked = task(action=Action("layer", 1, '{"text":"Hello."}', ()), artifacts=())
    share = tmp_path / "share"
    share.rmdir()
    share.write_text("not a folder")
    for _ in range(5):
        assert answer(shop, asked).lost
    share.unlink()
    share.mkdir()
    again = answer(shop, asked).made
    assert again is not None and again.written == 0 and list(share.rglob("*"))


def test_a_damaged_input_is_fetched_once_more(shop: Workshop) -> None:
    data = Recipe(ARCHITECTURE, []).encode()
    recipe = shop.store.put(data)
    shop.cache.uploads.send_blob(recipe)
    path = Path(str(shop.store.path(recipe.artifact)))
    path.write_bytes(data[:-1] + b"?")
    asked = Action("layer", 1, "{}", (("recipe", recipe.artifact),))
    made = answer(shop, task(action=asked, artifacts=(recipe,))).made
    assert made is not None and made.result.size > 0 and path.read_bytes() == data


def test_the_shared_cache_is_named_by_an_option_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(cache=str(tmp_path / "cache"), memory=1 << 20)
    monkeypatch.delenv(serving.REMOTE, raising=False)
    with pytest.raises(Error, match="a worker needs a shared cache"):
        serving.means(settings, None)
    monkeypatch.setenv(serving.REMOTE, "file:///one")
    assert serving.means(settings, None).remote == "file:///one"
    means = serving.means(settings, "file:///other")
    assert means.remote == "file:///other" and means.cache == str(tmp_path / "cache")
    offered = serving.tokens(means)
    assert offered["memory"] == 1 << 20 and offered["disk"] > 0

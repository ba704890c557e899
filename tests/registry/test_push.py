"""Whole models on their way into a registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbuild.digest import sha256
from modelbuild.errors import Error, Stopped
from modelbuild.ollama.manifest import CONFIG, LICENSE, MODEL, Manifest
from modelbuild.ollama.name import Name
from modelbuild.registry import local_blob, upload
from modelbuild.registry.patience import Patience
from modelbuild.registry.push import Pusher
from modelbuild.registry.transport import Transport
from tests.registry.models import CONFIG_BYTES, SMALL_MODEL, Models, check_golden
from tests.registry.uploads import Asked, Reply, Uploads, digest


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploads]:
    monkeypatch.setattr(upload, "SMALL", 1000)
    monkeypatch.setattr(upload, "LEAST", 4000)
    monkeypatch.setattr(local_blob, "PIECE", 500)
    with Uploads() as registry:
        yield registry


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path / "models")


@pytest.fixture
def events() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def pusher(models: Models, events: list[dict[str, Any]]) -> Pusher:
    return Pusher(Transport(patience=Patience(tries=3, pause=0.001, silence=20)), models.library, events.append)


def named(registry: Uploads, path: str) -> Name:
    return Name.parse(f"{registry.host}/{path}")


def test_the_registry_gets_the_manifests_very_bytes(
    registry: Uploads, models: Models, pusher: Pusher, events: list[dict[str, Any]]
) -> None:
    # As somebody else may have written it: Ollama would drop what it does not know.
    data = models.model().replace(b'"schemaVersion"', b'"annotations": {"a": "b"}, "schemaVersion"')
    pushed = pusher.push(data, named(registry, "team/chat:v1"))
    assert registry.manifests["/v2/team/chat/manifests/v1"] == data
    assert (pushed.manifest, pushed.changed, pushed.mounted) == (sha256(data), True, 0)
    assert pushed.uploaded == sum(layer.size for layer in (Manifest.parse(data).config, *Manifest.parse(data).layers))
    # The manifest comes last: whoever pulls meanwhile finds all that it names.
    assert registry.asked[-1].method == "PUT" and registry.asked[-1].path.endswith("/manifests/v1")
    assert {each["state"] for each in events if each["event"] == "blob"} == {"uploaded"}
    last = [each for each in events if each["event"] == "progress"][-1]
    assert last["done"] == last["total"] == pushed.uploaded


def test_an_unchanged_model_takes_one_request(registry: Uploads, models: Models, pusher: Pusher) -> None:
    data, name = models.model(), named(registry, "team/chat:v1")
    pusher.push(data, name)
    before = len(registry.asked)
    fresh = Pusher(pusher.transport, models.library, lambda event: None)
    assert not fresh.push(data, name).changed
    assert registry.methods()[before:] == ["HEAD"]


def test_a_variant_with_another_parameter_sends_only_that(registry: Uploads, models: Models, pusher: Pusher) -> None:
    pusher.push(models.model(), named(registry, "team/chat:v1"))
    before = len(registry.asked)
    other = models.model(temperature=0.75)
    fresh = Pusher(pusher.transport, models.library, lambda event: None)
    assert fresh.push(other, named(registry, "team/chat:v2")).uploaded == len(b'{"temperature": 0.75}\n')
    assert sorted(registry.methods()[before:]) == ["HEAD"] * 4 + ["POST", "PUT", "PUT"]


def test_another_tag_of_the_same_command_asks_for_no_blob_again(
    registry: Uploads, models: Models, pusher: Pusher
) -> None:
    data = models.model()
    pusher.push(data, named(registry, "team/chat:v1"))
    before = len(registry.asked)
    assert pusher.push(data, named(registry, "team/chat:latest")).changed
    assert registry.methods()[before:] == ["HEAD", "PUT"]


def test_a_digest_that_is_named_twice_is_sent_once(registry: Uploads, models: Models, pusher: Pusher) -> None:
    layer = models.layer(LICENSE, b"MIT")
    data = models.named("acme/x", Manifest(models.layer(CONFIG, CONFIG_BYTES), (layer, layer)))
    pusher.push(data, named(registry, "team/x:v1"))
    assert registry.methods().count("POST") == 2


# Blobs that the registry has in other repositories


def test_what_was_sent_before_is_taken_from_there(registry: Uploads, models: Models, pusher: Pusher) -> None:
    data = models.model()
    pusher.push(data, named(registry, "team/chat:v1"))
    assert pusher.push(data, named(registry, "other/chat:v1")).mounted == 3
    assert all("from=team/chat" in path for path in registry.paths("POST")[3:])


def test_a_layer_is_taken_from_the_base_that_it_names(registry: Uploads, models: Models, pusher: Pusher) -> None:
    registry.hold("acme/base", SMALL_MODEL)
    data = models.model(from_=f"{registry.host}/acme/base:latest")
    pushed = pusher.push(data, named(registry, "team/chat:v1"))
    assert pushed.mounted == 1 and pushed.uploaded < len(SMALL_MODEL)
    assert [path for path in registry.paths("POST") if "mount=" in path] == [
        f"/v2/team/chat/blobs/uploads/?mount={digest(SMALL_MODEL)}&from=acme/base"
    ]


def test_a_layer_is_taken_from_a_model_of_the_folder_that_was_pulled_from_the_same_host(
    registry: Uploads, models: Models, pusher: Pusher
) -> None:
    registry.hold("acme/pulled", SMALL_MODEL)
    models.model(f"{registry.host}/acme/pulled:v0", temperature=0.1)
    models.model("elsewhere.example.com/acme/other:v0", temperature=0.1)
    models.model("a:b:c/acme/no-host-at-all:v0", temperature=0.1)
    assert pusher.push(models.model(), named(registry, "team/chat:v1")).mounted == 1


# What is wrong here


def test_a_model_that_is_not_whole_here_is_not_begun_there(registry: Uploads, models: Models, pusher: Pusher) -> None:
    data = models.model()
    models.path(digest(SMALL_MODEL)).unlink()
    with pytest.raises(Error, match="this blob is missing"):
        pusher.push(data, named(registry, "team/chat:v1"))
    assert registry.asked == []


def test_a_damaged_blob_leaves_the_name_as_it_was(registry: Uploads, models: Models, pusher: Pusher) -> None:
    first = models.model()
    name = named(registry, "team/chat:v1")
    pusher.push(first, name)
    second = models.model(model=SMALL_MODEL[::-1])
    models.path(digest(SMALL_MODEL[::-1])).write_bytes(SMALL_MODEL)
    with pytest.raises(Error, match="damaged"):
        pusher.push(second, name)
    assert registry.manifests["/v2/team/chat/manifests/v1"] == first


def test_a_manifest_that_is_none_is_refused(registry: Uploads, pusher: Pusher) -> None:
    with pytest.raises(Error, match="manifest"):
        pusher.push(b"[]", named(registry, "team/chat:v1"))
    assert registry.asked == []


def test_two_sizes_of_one_blob_are_refused(registry: Uploads, models: Models, pusher: Pusher) -> None:
    layer = models.layer(MODEL, SMALL_MODEL)
    data = models.named("a/b", Manifest(models.layer(CONFIG, CONFIG_BYTES), (layer, layer._replace(size=1))))
    with pytest.raises(Error) as refused:
        pusher.push(data, named(registry, "team/chat:v1"))
    check_golden("two-sizes", refused.value, registry.host)


# What is wrong there


def test_a_registry_that_changes_the_manifest_is_found_out(registry: Uploads, models: Models, pusher: Pusher) -> None:
    data = models.model()
    registry.on("PUT", "/manifests/", Reply(201, headers=[("Docker-Content-Digest", digest(b"other"))]))
    with pytest.raises(Error) as changed:
        pusher.push(data, named(registry, "team/chat:v1"))
    check_golden("other-manifest", changed.value, registry.host)


def test_a_registry_that_says_no_digest_is_asked_for_the_manifest(
    registry: Uploads, models: Models, pusher: Pusher
) -> None:
    data = models.model()

    def store(asked: Asked) -> Reply:
        registry.put_manifest("team/chat", asked.body, "v1")
        return Reply(201)

    registry.on("PUT", "/manifests/", store)
    assert pusher.push(data, named(registry, "team/chat:v1")).changed
    assert registry.methods()[-2:] == ["PUT", "GET"]


def test_a_manifest_whose_answer_is_lost_is_sent_again(registry: Uploads, models: Models, pusher: Pusher) -> None:
    def lost(asked: Asked) -> Reply:
        raise ConnectionError

    registry.on("PUT", "/manifests/", lost, last=False)
    data = models.model()
    assert pusher.push(data, named(registry, "team/chat:v1")).changed
    assert registry.manifests["/v2/team/chat/manifests/v1"] == data


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/manifests/"), ("POST", "uploads"), ("PUT", "/manifests/")])
def test_who_may_not_push_is_told_what_to_do(
    registry: Uploads, models: Models, pusher: Pusher, method: str, path: str
) -> None:
    registry.on(method, path, Reply(401, b'{"errors": [{"message": "authentication required"}]}'))
    with pytest.raises(Error) as denied:
        pusher.push(models.model(), named(registry, "team/chat:v1"))
    assert not registry.manifests
    if method == "POST":
        check_golden("denied", denied.value, registry.host)


def test_a_refused_manifest_is_an_error_with_the_registrys_words(
    registry: Uploads, models: Models, pusher: Pusher
) -> None:
    registry.on("PUT", "/manifests/", Reply(400, b'{"errors": [{"message": "manifest invalid"}]}'))
    with pytest.raises(Error) as refused:
        pusher.push(models.model(), named(registry, "team/chat:v1"))
    check_golden("refused-manifest", refused.value, registry.host)


def test_one_blob_that_fails_ends_the_others(registry: Uploads, models: Models, pusher: Pusher) -> None:
    registry.on("POST", "", lambda asked: Reply(403))
    with pytest.raises(Error, match="access denied"):
        pusher.push(models.model(), named(registry, "team/chat:v1"))
    assert not registry.manifests


def test_a_stop_ends_a_push_and_another_one_goes_on(registry: Uploads, models: Models, pusher: Pusher) -> None:
    data, name = models.model(), named(registry, "team/chat:v1")
    registry.on("PATCH", "after-4000", lambda asked: pusher.transport.stop())  # type: ignore[func-returns-value]
    with pytest.raises(Stopped):
        pusher.push(data, name)
    assert not registry.manifests
    registry.script.clear()
    again = Pusher(Transport(), models.library, lambda event: None)
    assert again.push(data, name).changed and registry.manifests["/v2/team/chat/manifests/v1"] == data


def test_whether_ollama_can_pull_from_there(registry: Uploads, models: Models, pusher: Pusher) -> None:
    data, name = models.model(), named(registry, "team/chat:v1")
    pusher.push(data, name)
    assert pusher.serves_by_itself(data, name)
    with Uploads() as storage:
        held = storage.hold("x", CONFIG_BYTES)
        registry.on("GET", "/blobs/", Reply(307, headers=[("Location", f"{storage.url}/v2/x/blobs/{held}")]))
        assert not pusher.serves_by_itself(data, name)

"""What is kept of a pulled model: read back whole, or not at all."""

from __future__ import annotations

from pathlib import Path

from modelbuild.checkpoint.chat import Chat
from modelbuild.digest import sha256
from modelbuild.observed import Observed
from modelbuild.ollama import manifest as media
from modelbuild.ollama.manifest import Layer, Manifest
from modelbuild.ollama.name import Name
from modelbuild.plan import seen
from modelbuild.plan.seen import Seen

CONFIG, PARAMS = b'{"model_family":"llama"}', b"\xff is kept too"
MANIFEST = Manifest(
    Layer(media.CONFIG, sha256(CONFIG), len(CONFIG)),
    (Layer(media.MODEL, sha256(b"m"), 1), Layer(media.PARAMS, sha256(PARAMS), len(PARAMS))),
).encode()
WHOLE = Seen(
    MANIFEST,
    {sha256(CONFIG): CONFIG, sha256(PARAMS): PARAMS},
    True,
    {sha256(b"m"): "xxh3:0"},
    Chat("{{ x }}", "m", None, "</s>"),
)


def test_it_is_read_back() -> None:
    assert Seen.decode(WHOLE.encode(), sha256(MANIFEST)) == WHOLE
    assert seen.small(Manifest.parse(MANIFEST)) == [sha256(CONFIG), sha256(PARAMS)]


def test_what_is_damaged_or_of_another_manifest_counts_as_nothing() -> None:
    data = WHOLE.encode()
    assert Seen.decode(data, sha256(b"other")) is None
    assert Seen.decode(data[:-1], sha256(MANIFEST)) is None and Seen.decode(b"", sha256(MANIFEST)) is None
    swapped = WHOLE._replace(small={sha256(CONFIG): b"{}"}).encode()
    assert Seen.decode(swapped, sha256(MANIFEST)) is None


def test_looking_for_it_is_a_look_of_the_planner(tmp_path: Path) -> None:
    observed, digest = Observed(), sha256(MANIFEST)
    assert seen.look(str(tmp_path), digest, observed) is None and seen.look(None, digest, observed) is None
    path = Path(seen.path(str(tmp_path), digest))
    assert [subject for _, subject, _ in observed.looks()] == [str(path)]
    path.parent.mkdir()
    path.write_bytes(WHOLE.encode())
    assert seen.look(str(tmp_path), digest, Observed()) == WHOLE


def test_a_pinned_manifest_beside_its_tag_has_a_name_of_its_own() -> None:
    name, digest = Name.parse("llama3.2"), "sha256:" + "ab" * 32
    assert seen.aside(name, digest).display() == "llama3.2:latest-abababababab"
    assert Name.from_path(seen.aside(name._replace(tag="t" * 80), digest).path())
    assert seen.places("llama3.2:latest", digest)[0] == name.path()


def test_files_of_tensors_are_hashed_by_their_parts() -> None:
    assert {seen.form(each) for each in (media.MODEL, media.PROJECTOR, media.ADAPTER, media.DRAFT)} == {"gguf"}
    assert seen.form(media.SYSTEM) == "bytes"

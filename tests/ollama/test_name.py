"""Names of models, as Ollama's own tests have them (types/model/name_test.go) and by part."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from modelbuild.ollama.name import Name, can_be

LONG = "8" * 80
LONG_HOST = "3" * 350


@pytest.mark.parametrize(
    ("text", "path", "display"),
    [
        ("model", "registry.ollama.ai/library/model/latest", "model:latest"),
        ("llama3:8b", "registry.ollama.ai/library/llama3/8b", "llama3:8b"),
        ("namespace/model", "registry.ollama.ai/namespace/model/latest", "namespace/model:latest"),
        ("host/namespace/model", "host/namespace/model/latest", "host/namespace/model:latest"),
        ("host/library/m", "host/library/m/latest", "host/library/m:latest"),
        ("host:5000/ns/m:t", "host:5000/ns/m/t", "host:5000/ns/m:t"),
        ("scheme://host:port/namespace/model:tag", "host:port/namespace/model/tag", "host:port/namespace/model:tag"),
        ("registry.ollama.ai/library/dolphin:7b-v2.6-q6_K", "registry.ollama.ai/library/dolphin/7b-v2.6-q6_K",
         "dolphin:7b-v2.6-q6_K"),
        ("Registry.Ollama.AI/Library/M:T", "Registry.Ollama.AI/Library/M/T", "M:T"),
        ("_why/_the/_lucky:_stiff", "_why/_the/_lucky/_stiff", "_why/_the/_lucky:_stiff"),
        (f"{LONG_HOST}/{LONG}/{LONG}:{LONG}", f"{LONG_HOST}/{LONG}/{LONG}/{LONG}", f"{LONG_HOST}/{LONG}/{LONG}:{LONG}"),
        ("hf.co/user/repo-GGUF:repo.Q4_K_M.gguf", "hf.co/user/repo-GGUF/repo.Q4_K_M.gguf",
         "hf.co/user/repo-GGUF:repo.Q4_K_M.gguf"),
        ("a:///b/c", "registry.ollama.ai/b/c/latest", "b/c:latest"),
        ("http:///library/m:t", "registry.ollama.ai/library/m/t", "m:t"),
        ("a..b", "registry.ollama.ai/library/a..b/latest", "a..b:latest"),
    ],
)  # fmt: skip
def test_a_valid_name(text: str, path: str, display: str) -> None:
    name = Name.parse(text)
    assert (name.path(), name.display()) == (path, display)
    assert Name.parse(display).folded() == name.folded()
    assert Name.from_path(path) == name


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "model is empty"),
        ("m:", "tag is empty"),
        (":t", "model is empty"),
        ("mm:@", "tag '@' begins with '@'"),
        ("/n/m", "host is empty"),
        ("/m", "namespace is empty"),
        ("//", "host is empty"),
        ("hh//m", "namespace is empty"),
        ("hh/n/", "model is empty"),
        ("-h/n/m:t", "host '-h' begins with '-'"),
        ("h/-n/m:t", "namespace '-n' begins with '-'"),
        ("h/n/-m:t", "model '-m' begins with '-'"),
        ("h/n/m:-t", "tag '-t' begins with '-'"),
        (".m", "model '.m' begins with '.'"),
        ("host/name:space/model:tag", "namespace 'name:space' contains ':'"),
        ("a.b/m", "namespace 'a.b' contains '.'"),
        ("m@d", "model 'm@d' contains '@'"),
        ("m:t:u", "model 'm:t' contains ':'"),
        ("a/b/c/d", "host 'a/b' contains '/'"),
        ("http://host/m", "host 'http:/' contains '/'"),
        ("localhost:5000/m", "namespace 'localhost:5000' contains ':'"),
        ("a:////b/c", "host '/' begins with '/'"),
        ("://b/c", "host ':/' begins with ':'"),
        ("../../etc/passwd", "host '../..' begins with '.'"),
        ("m\n", "model 'm\n' contains the end of the line"),
        ("mödel", "model 'mödel' contains 'ö'"),
        ("m" * 81, "model is 81 bytes long, expected at most 80"),
        ("h" * 351 + "/n/m", "host is 351 bytes long, expected at most 350"),
        ("./model.gguf", "namespace '.' begins with '.'"),
        ("a b", "model 'a b' contains a space"),
    ],
)
def test_an_invalid_name_says_which_part_is_wrong(text: str, part: str) -> None:
    with pytest.raises(Error) as caught:
        Name.parse(text)
    assert caught.value.what.endswith(f"': the {part}")


def test_an_invalid_name_is_shown_whole() -> None:
    with pytest.raises(Error) as caught:
        Name.parse("localhost:5000/m:v1")
    assert render(caught.value) == (
        "error: invalid model name 'localhost:5000/m:v1': the namespace 'localhost:5000' contains ':'\n"
        "  form      [host/][namespace/]model[:tag]\n"
        "  expected  letters, digits, '_' and '-'\n"
        "  hint      a host is followed by a namespace: 'localhost:5000/library/m:v1'"
    )


def test_a_namespace_can_be_given_for_names_that_have_none() -> None:
    assert Name.parse("m", namespace="acme").display() == "acme/m:latest"
    assert Name.parse("other/m", namespace="acme").display() == "other/m:latest"


@pytest.mark.parametrize("tag", ["local", "cloud", "120b-cloud", "Local", "X-Cloud"])
def test_a_reserved_tag_is_warned_of(tag: str) -> None:
    warning = Name.parse(f"m:{tag}").reserved()
    assert warning is not None
    assert f"tag '{tag}' of 'm:{tag}' is reserved" in warning.what


@pytest.mark.parametrize("tag", ["latest", "cloudy", "localhost", "cloud-1"])
def test_other_tags_are_not(tag: str) -> None:
    assert Name.parse(f"m:{tag}").reserved() is None


@pytest.mark.parametrize(
    "path", ["", "a/b/c", "a/b/c/d/e", "../../m/t", "/n/./t", "././././", "h/n/m/.DS_Store", "h/n.s/m/t"]
)
def test_a_foreign_path_is_no_name(path: str) -> None:
    with pytest.raises(Error):
        Name.from_path(path)


@settings(deadline=None)
@given(st.text() | st.text(st.sampled_from("ab.-_:/@ 0"), max_size=30))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    try:
        name = Name.parse(text)
    except Error:
        return
    assert len(name.path().split("/")) == 4
    assert not {"", ".", ".."} & set(name.path().split("/"))
    assert Name.parse(name.display()).folded() == name.folded()


def test_a_part_by_itself_follows_the_rules_of_the_whole() -> None:
    assert can_be("tag", "q4_K_M") and can_be("namespace", "a-b") and can_be("tag", "x" * 80)
    assert not any(can_be("tag", text) for text in ("", ".x", "a b", "x" * 81))
    assert not can_be("namespace", "a.b")

"""Manifests, params and names that lie: whatever the bytes are, the answer is a value or an Error."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from modelbuild.files import LARGEST
from modelbuild.ollama import manifest
from modelbuild.ollama.go_json import encode_json
from modelbuild.ollama.manifest import Manifest, parse_params
from tests.at_length import examples

DIGEST = "sha256:" + "0123456789abcdef" * 4
CONFIG = {"mediaType": manifest.CONFIG, "digest": DIGEST, "size": 1}


def lying(**changes: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [CONFIG]} | changes).encode()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "manifest is not JSON: expecting value at byte 0"),
        (b"\xff\xfe{}", "manifest is not JSON: not UTF-8"),
        (b"[]", "manifest is not a JSON object"),
        (b"null", "manifest is not a JSON object"),
        (b"{}", "manifest: 'config' is not an object"),
        (b'{"config":' + b"[" * 100_000, "manifest is not JSON: nested too deeply"),
        (lying() + b"{}", "manifest is not JSON: extra data"),
        (lying(layers={}), "manifest: 'layers' is not a list"),
        (lying(layers=[1]), "manifest: 'layers[0]' is not an object"),
        (lying(layers=[CONFIG, None]), "manifest: 'layers[1]' is not an object"),
        (lying(config=[]), "manifest: 'config' is not an object"),
        (lying(config=CONFIG | {"digest": 1}), "manifest: 'digest' of 'config' is not text"),
        (lying(config=CONFIG | {"digest": None}), "manifest: 'digest' of 'config' is not text"),
        (lying(config=CONFIG | {"mediaType": ["x"]}), "manifest: 'mediaType' of 'config' is not text"),
        (lying(config=CONFIG | {"from": {}}), "manifest: 'from' of 'config' is not text"),
        (lying(config=CONFIG | {"digest": ""}), "manifest: 'config' has an invalid digest, got ''"),
        (
            lying(config=CONFIG | {"digest": "sha256:../../../../etc/passwd"}),
            "manifest: 'config' has an invalid digest",
        ),
        (lying(config=CONFIG | {"digest": DIGEST + "/x"}), "manifest: 'config' has an invalid digest"),
        (lying(config=CONFIG | {"digest": DIGEST + "\n"}), "manifest: 'config' has an invalid digest"),
        (lying(config=CONFIG | {"digest": DIGEST[:-1]}), "manifest: 'config' has an invalid digest"),
        (lying(config=CONFIG | {"digest": "md5:" + "0" * 64}), "manifest: 'config' has an invalid digest"),
        (lying(config=CONFIG | {"digest": "sha256:" + "٣" * 64}), "manifest: 'config' has an invalid digest"),
        (lying(config=CONFIG | {"size": -1}), "manifest: 'size' of 'config' is not a number of bytes"),
        (lying(config=CONFIG | {"size": True}), "manifest: 'size' of 'config' is not a number of bytes"),
        (lying(config=CONFIG | {"size": 1.5}), "manifest: 'size' of 'config' is not a number of bytes"),
        (lying(config=CONFIG | {"size": "1"}), "manifest: 'size' of 'config' is not a number of bytes"),
        (lying(config=CONFIG | {"size": None}), "manifest: 'size' of 'config' is not a number of bytes"),
        (lying(config=CONFIG | {"size": 1 << 63}), "manifest: 'size' of 'config' is not a number of bytes"),
        (b'{"config":{"size":1e999}}', "manifest is not JSON: number out of range: 1e999"),
        (b'{"config":{"size":' + b"9" * 10_000 + b"}}", "manifest is not JSON: number out of range: 999"),
        (b'{"config":{"size":NaN}}', "manifest is not JSON: number out of range: NaN"),
        (b" " * (LARGEST + 1), "manifest has 67108865 bytes, expected at most 67108864"),
    ],
    ids=count(),
)
def test_a_lying_manifest_is_an_error(data: bytes, what: str) -> None:
    with pytest.raises(Error) as caught:
        Manifest.parse(data, "manifests/x")
    assert caught.value.what.startswith(what)
    assert render(caught.value).startswith("error: manifests/x: ")


@pytest.mark.parametrize("data", [b"[1]", b'"x"', b"{", b'{"a":Infinity}', b'{"a":1e400}', b"{'a':1}", b'{"a":\xff}'])
def test_lying_params_are_an_error(data: bytes) -> None:
    with pytest.raises(Error, match="params"):
        parse_params(data)


def test_a_lone_surrogate_in_params_can_be_written_again() -> None:
    assert encode_json(parse_params(b'{"stop":["\\ud800"]}')) == '{"stop":["\ufffd"]}\n'.encode()


KEYS = ["config", "layers", "digest", "size", "mediaType", "from", "name", "x"]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(DIGEST)
json_values: st.SearchStrategy[Any] = st.deferred(
    lambda: leaves | st.lists(json_values, max_size=3) | st.dictionaries(st.sampled_from(KEYS), json_values, max_size=4)
)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_manifest_or_an_error(data: bytes) -> None:
    try:
        read = Manifest.parse(data)
    except Error as error:
        assert render(error)
        return
    assert Manifest.parse(read.encode()) == read


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_params_or_an_error(data: bytes) -> None:
    try:
        read = parse_params(data)
    except Error as error:
        assert render(error)
        return
    assert encode_json(parse_params(encode_json(read)), sort_maps=True) == encode_json(read, sort_maps=True)

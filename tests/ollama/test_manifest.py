"""Blobs and manifests to the byte, and manifests that others wrote."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.go_json import encode_json
from modelbuild.ollama.manifest import (
    ADAPTER,
    CONFIG,
    DRAFT,
    LICENSE,
    MESSAGES,
    MODEL,
    PARAMS,
    PROJECTOR,
    SYSTEM,
    TEMPLATE,
    ConfigV2,
    Layer,
    Manifest,
    compose,
    file_type_name,
    human_number,
    merge_parameters,
    messages_blob,
    params_blob,
    parse_params,
)
from modelbuild.ollama.modelfile import parse as parse_modelfile

DIGEST = "sha256:" + "0123456789abcdef" * 4


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Blobs whose digests stand in Ollama's own tests (server/routes_create_test.go)


def test_the_config_of_an_empty_model_has_ollamas_digest() -> None:
    blob = ConfigV2(
        model_family="test", model_families=["test"], model_type=human_number(0), file_type=file_type_name(None)
    ).encode()  # fmt: skip
    assert sha256(blob) == "99759ad5b91e723db0393d698ffbb448b1b7df5ff6377a108c49254583b1bc8c"


OWN = {"temperature": 1, "top_k": 10, "stop": ["USER:", "ASSISTANT:"]}


@pytest.mark.parametrize(
    ("parameters", "digest"),
    [
        (OWN, "1d0ad71299d48c2fb7ae2b98e683643e771f8a5b72be34942af90d97a91c1e37"),
        (merge_parameters([OWN], {"temperature": 0.6, "top_p": 0.7}),
         "e29a7b3c47287a2489c895d21fe413c20f859a85d20e749492f52a838e36e1ba"),
        (merge_parameters([OWN], {"temperature": 0.6, "top_p": 0.7, "stop": ["<|endoftext|>"]}),
         "12f58bb75cb3042d69a7e013ab87fb3c3c7088f50ddc62f0c77bd332f0d44d35"),
    ],
    ids=["own", "merged", "list replaced"],
)  # fmt: skip
def test_params_have_ollamas_digest(parameters: dict[str, Any], digest: str) -> None:
    assert sha256(params_blob(parameters)) == digest


def test_params_of_a_modelfile_have_ollamas_digest() -> None:
    read = parse_modelfile(
        "FROM x\nPARAMETER top_p 0.7\nPARAMETER temperature 0.6\nPARAMETER stop <|endoftext|>\nPARAMETER top_k 10", "M"
    )
    assert params_blob(read.parameters) == (
        b'{"stop":["\\u003c|endoftext|\\u003e"],"temperature":0.6,"top_k":10,"top_p":0.7}\n'
    )
    assert sha256(params_blob(read.parameters)).startswith("12f58bb7")


@pytest.mark.parametrize(
    ("messages", "digest"),
    [
        ([("assistant", "What is my purpose?"), ("user", "You run tests."), ("assistant", "Oh, my god.")],
         "298baeaf6928a60cf666d88d64a1ba606feb43a2865687c39e40652e407bffc4"),
        ([("assistant", "You're a test, Harry."), ("user", "I-I'm a what?"),
          ("assistant", "A test. And a thumping good one at that, I'd wager.")],
         "a60ecc9da299ec7ede453f99236e5577fd125e143689b646d9f0ddc9971bf4db"),
    ],
)  # fmt: skip
def test_messages_have_ollamas_digest(messages: list[tuple[str, str]], digest: str) -> None:
    assert sha256(messages_blob(messages)) == digest


@pytest.mark.parametrize(
    ("lines", "digest"),
    [
        ("TEMPLATE {{ .Prompt }}", "b507b9c2f6ca642bffcd06665ea7c91f235fd32daeefdf875a0f938db05fb315"),
        ("TEMPLATE {{ .System }} {{ .Prompt }}", "fe7ac77b725cda2ccad03f88a880ecdfd7a33192d6cae08fce2c0ee1455991ed"),
        ("SYSTEM Say hi!", "f29e82a8284dbdf5910b1555580ff60b04238b8da9d5e51159ada67a4d0d5851"),
        ('SYSTEM "Say bye!"', "4c5f51faac758fecaff8db42f0b7382891a4d0c0bb885f7b86be88c814a7cc86"),
        ("LICENSE MIT", "e5dcffe836b6ec8a58e492419b550e65fb8cbdc308503979e5dacb33ac7ea3b7"),
        ('LICENSE """Apache-2.0"""', "2af71558e438db0b73a20beab92dc278a94e1bbe974c00c1a33e3ab62d53a608"),
    ],
)
def test_texts_have_ollamas_digest(lines: str, digest: str) -> None:
    read = parse_modelfile(f"FROM x\n{lines}\n", "Modelfile")
    text = read.template or read.system or read.licenses[0]
    assert sha256(text.encode()) == digest


def test_the_stops_of_a_known_template_have_ollamas_digest() -> None:
    stops = {"stop": ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]}
    assert sha256(params_blob(stops)) == "0d79f567714c62c048378f2107fb332dabee0135d080c302d884317da9433cc5"


# Config


def test_a_config_leaves_out_what_is_empty() -> None:
    blob = ConfigV2(model_family="llama", model_families=["llama"], model_type="8.0B", file_type="Q4_K_M").encode()
    assert blob == (
        b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"8.0B",'
        b'"file_type":"Q4_K_M","architecture":"amd64","os":"linux"}\n'
    )


def test_a_config_keeps_the_order_of_its_members() -> None:
    blob = ConfigV2(
        renderer="r", parser="p", requires="0.14.0", remote_host="h", remote_model="m", capabilities=["tools"],
        context_length=1, embedding_length=2, base_name="b",
        draft={"architecture": "llama", "model_format": "gguf", "tensor_prefix": ""},
    ).encode()  # fmt: skip
    assert blob == (
        b'{"model_format":"gguf","model_family":"","model_families":null,"model_type":"","file_type":"","renderer":"r",'
        b'"parser":"p","requires":"0.14.0","remote_host":"h","remote_model":"m","capabilities":["tools"],'
        b'"context_length":1,"embedding_length":2,"base_name":"b","draft":{"model_format":"gguf","architecture":"llama"},'
        b'"architecture":"amd64","os":"linux"}\n'
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1K"), (1499, "1K"), (26_500, "26K"), (260_032, "260K"), (999_999, "1000K"),
     (1_000_000, "1M"), (1_235_000, "1.24M"), (334_000_000, "334M"), (999_999_999, "1000.00M"),
     (1_000_000_000, "1B"), (1_235_814_400, "1.2B"), (8_030_261_248, "8.0B"), (70_000_000_000, "70B")],
)  # fmt: skip
def test_a_number_of_weights_is_shown_as_ollama_shows_it(count: int, text: str) -> None:
    assert human_number(count) == text


@pytest.mark.parametrize(
    ("file_type", "name"),
    [(None, "unknown"), (0, "unknown"), (1, "F16"), (7, "Q8_0"), (15, "Q4_K_M"), (18, "Q6_K"), (30, "IQ4_XS"),
     (32, "BF16"), (38, "MXFP4_MOE"), (4, "unknown"), (1024, "unknown")],
)  # fmt: skip
def test_a_file_type_has_ollamas_name(file_type: int | None, name: str) -> None:
    assert file_type_name(file_type) == name


# Manifests


def test_a_manifest_has_ollamas_bytes() -> None:
    made = Manifest(
        Layer(CONFIG, DIGEST, 123), (Layer(MODEL, DIGEST, 1, "llama3:latest"), Layer(SYSTEM, DIGEST, 2))
    )  # fmt: skip
    assert (
        made.encode()
        == (
            '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
            f'"config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{DIGEST}","size":123}},'
            f'"layers":[{{"mediaType":"application/vnd.ollama.image.model","digest":"{DIGEST}","size":1,"from":"llama3:latest"}},'
            f'{{"mediaType":"application/vnd.ollama.image.system","digest":"{DIGEST}","size":2}}]}}\n'
        ).encode()
    )
    assert Manifest.parse(made.encode()) == made


def test_a_manifest_of_tensors_reads_back() -> None:
    tensor = Layer("application/vnd.ollama.image.tensor", DIGEST, 5, None, "model.embed_tokens.weight")
    made = Manifest(Layer(CONFIG, DIGEST, 1), (tensor,) * 2000)
    assert Manifest.parse(made.encode()) == made


def test_a_manifest_of_a_cloud_model_has_no_layers() -> None:
    data = json.dumps({"config": {"digest": DIGEST, "size": 1}, "layers": None, "annotations": {"x": [1.5]}}).encode()
    assert Manifest.parse(data) == Manifest(Layer("", DIGEST, 1), ())


def test_a_digest_is_read_in_either_spelling() -> None:
    data = json.dumps({"config": {"digest": DIGEST.replace(":", "-").upper().replace("SHA", "sha")}}).encode()
    assert Manifest.parse(data).config.digest == DIGEST


def test_params_are_the_float64_that_go_makes_of_them() -> None:
    data = b'{"z":-0,"seed":9007199254740993,"top_k":40,"temperature":1.0,"a":1e2,"stop":["\\u003cx"],"big":1e22,"b":1234567890123456789}'
    read = parse_params(data)
    assert encode_json(read, sort_maps=True) == (
        b'{"a":100,"b":1234567890123456800,"big":1e+22,"seed":9007199254740992,"stop":["\\u003cx"],"temperature":1,"top_k":40,"z":-0}\n'
    )
    assert isinstance(read["top_k"], int)


# The order of layers


def ordered(base: list[str], new: list[str]) -> list[str]:
    """Layers as `type` or `type:mark`; what is new is marked `+`."""
    layers = compose([(each, "") for each in base], [(each, "+") for each in new], lambda layer: layer[0])
    return [media_type.rpartition(".")[2] + mark for media_type, mark in layers]


def test_layers_of_a_file_come_in_ollamas_order() -> None:
    new = [MESSAGES, LICENSE, PARAMS, DRAFT, SYSTEM, LICENSE, TEMPLATE, ADAPTER]
    assert ordered([MODEL, PROJECTOR], new) == [
        "model", "projector", "adapter+", "draft+", "template+", "system+", "license+", "license+", "params+", "messages+",
    ]  # fmt: skip


def test_inherited_layers_keep_their_places() -> None:
    base = [MODEL, ADAPTER, LICENSE, TEMPLATE, SYSTEM, MESSAGES]
    assert ordered(base, []) == ["model", "adapter", "license", "template", "system", "messages"]
    assert ordered(base, [SYSTEM]) == ["model", "adapter", "license", "template", "messages", "system+"]
    assert ordered(base, [LICENSE, ADAPTER]) == [
        "model", "adapter", "license", "template", "system", "messages", "adapter+", "license+",
    ]  # fmt: skip


def test_parameters_always_move_to_the_end() -> None:
    assert ordered([MODEL, PARAMS, SYSTEM], [PARAMS]) == ["model", "system", "params+"]
    assert ordered([MODEL, PARAMS, PARAMS, MESSAGES], [PARAMS, MESSAGES]) == ["model", "params+", "messages+"]
    with pytest.raises(ValueError, match="the base has parameters"):
        ordered([MODEL, PARAMS], [SYSTEM])


def test_unknown_layers_are_inherited() -> None:
    assert ordered([MODEL, "application/vnd.ollama.image.embed"], [SYSTEM]) == ["model", "embed", "system+"]


def test_of_several_params_layers_the_first_to_name_a_key_decides() -> None:
    merged = merge_parameters([{"a": 1, "b": 1}, {"b": 2, "c": 2}], {"c": 3})
    assert merged == {"a": 1, "b": 1, "c": 3}


@pytest.mark.parametrize(("member", "spelled"), [("config", "Config"), ("layers", "LAYERS"), ("digest", "Digest")])
def test_a_member_that_go_reads_in_another_spelling_is_not_passed_over(member: str, spelled: str) -> None:
    data = Manifest(Layer(CONFIG, DIGEST, 1), (Layer(MODEL, DIGEST, 1),)).encode()
    with pytest.raises(Error, match=f"expected '{member}', got '{spelled}'"):
        Manifest.parse(data.replace(f'"{member}"'.encode(), f'"{spelled}"'.encode()))

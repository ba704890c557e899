"""`modelbuild quality`: figures that an independent computation agrees with, what is kept, what goes wrong, the page in a browser."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from modelbuild.files import signature
from modelbuild.tensors.quality import MEASURES, shown
from tests import checkpoints
from tests.cli.pages.test_quality import Page, check_figures, heat
from tests.e2e.in_process import InProcess
from tests.e2e.project import Project, flip

TOML = """
[project]
name = "demo"

[model.base]
from = "./weights"
[model.base.matrix]
quantize = ["q8_0", "q4_K_M", "f16", "none"]
[model.base.default]
quantize = "q4_K_M"

[model.chat]
from = "base"
system = "hello"
"""

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "lm_head": "output",
    "model.norm": "output_norm",
}
HEADS = {"attn_q": 8, "attn_k": 4}

Floats = np.ndarray[Any, np.dtype[np.float64]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = InProcess(tmp_path_factory.mktemp("quality"))
    project.write("ModelBuild.toml", TOML)
    checkpoints.write(project.folder / "weights")
    project.build()
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """The built project under its own path, with a cache and a models folder of its own."""
    copy = InProcess(tmp_path / "project")
    shutil.copytree(built.folder / "weights", copy.folder / "weights")
    copy.write("ModelBuild.toml", TOML)
    copy.build()
    return copy


def quality(project: Project, *words: str) -> dict[str, dict[str, Any]]:
    """name -> what `--json` says of that model."""
    models = json.loads(project.run("quality", "--json", *words))
    return {model["name"]: model for model in models}


def source_weights(folder: Path) -> dict[str, Floats]:
    """The checkpoint's weights by their GGUF names, in the order in which llama.cpp wants their rows."""
    found = {}
    with (folder / "model.safetensors").open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        assert entry["dtype"] == "BF16"
        bits = np.frombuffer(data[first:last], "<u2").astype(np.uint32) << 16
        floats = bits.view(np.float32).astype(np.float64).reshape(entry["shape"])
        stem = name.removesuffix(".weight")
        match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem)
        kind = NAMES[match[2] if match else stem]
        if kind in HEADS:
            heads = HEADS[kind]
            rows = floats.shape[0] // heads // 2
            floats = floats.reshape(heads, 2, rows, -1).swapaxes(1, 2).reshape(floats.shape)
        found[f"blk.{match[1]}.{kind}.weight" if match else f"{kind}.weight"] = floats
    return found


def test_figures_agree_with_gguf_py(built: Project, tmp_path: Path) -> None:
    weights = source_weights(built.folder / "weights")
    for name, model in quality(built, "base:q8_0", "base:q4_K_M", "base:f16").items():
        path = tmp_path / "model.gguf"
        path.write_bytes(built.blob(name, "model"))
        assert model["model_bytes"] == path.stat().st_size
        squares = noise = count = largest = 0.0
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        assert [tensor["name"] for tensor in model["tensors"]] == list(tensors)
        for told in model["tensors"]:
            tensor, source = tensors[told["name"]], weights[told["name"]]
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64).reshape(source.shape)
            errors = values - source
            signal, error = np.sum(source**2), np.sum(errors**2)
            assert told["type"] == tensor.tensor_type.name.lower()
            assert told["source_type"] == "bf16"
            assert told["shape"] == list(source.shape)
            assert told["weights"] == source.size
            assert told["bytes"] == tensor.n_bytes
            assert told["bits_per_weight"] == 8 * int(tensor.n_bytes) / source.size
            assert told["rms_error"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
            assert told["max_error"] == pytest.approx(np.abs(errors).max(), rel=1e-5)
            assert told["source_rms"] == pytest.approx(np.sqrt(np.mean(source**2)), rel=1e-12)
            assert told["exact"] == (error == 0)
            assert told["snr_db"] == (None if error == 0 else pytest.approx(10 * np.log10(signal / error), abs=1e-5))
            if source.ndim > 1:
                squares, noise, count = squares + signal, noise + error, count + source.size
                largest = max(largest, float(np.abs(errors).max()))
        assert model["rms_error"] == pytest.approx(np.sqrt(noise / count), rel=1e-6)
        assert model["max_error"] == pytest.approx(largest, rel=1e-5)
        assert model["snr_db"] == pytest.approx(10 * np.log10(squares / noise), abs=1e-5)
        sizes = [int(tensor.n_bytes) for tensor in tensors.values()]
        assert model["tensor_bytes"] == sum(sizes)
        assert model["weights"] == sum(source.size for source in weights.values())
        assert model["bits_per_weight"] == 8 * sum(sizes) / model["weights"]


def test_json_has_just_these_fields(built: Project) -> None:
    model = quality(built, "base:q4_K_M")["base:q4_K_M"]
    assert list(model) == [
        "label", "name", "names", "ftype", "model_blob", "model_bytes", "tensor_bytes", "weights", "bits_per_weight",
        "rms_error", "max_error", "snr_db", "source_rms", "divergence", "tensors",
    ]  # fmt: skip
    assert [list(tensor) for tensor in model["tensors"]] == 21 * [[
        "name", "block", "kind", "type", "source_type", "shape", "weights", "bytes", "bits_per_weight", "exact",
        "rms_error", "max_error", "snr_db", "source_rms",
    ]]  # fmt: skip
    assert model["names"] == ["base:q4_K_M", "base:latest"]
    assert model["ftype"] == "q4_K_M"
    (layer,) = [each for each in built.manifest("base:q4_K_M")["layers"] if each["mediaType"].endswith("model")]
    assert model["model_blob"] == layer["digest"]


def test_table_names_the_worst_tensors(built: Project) -> None:
    model = quality(built, "base:q4_K_M")["base:q4_K_M"]
    text = built.run("quality", "base:q4_K_M")
    lossy = sorted((each for each in model["tensors"] if not each["exact"]), key=lambda each: each["snr_db"])
    lines = text.splitlines()
    assert lines[1].split() == [
        *("base:q4_K_M", "q4_K_M", *f"{model['model_bytes'] / 1000:.0f} kB".split()),
        *(shown(model, measure) for measure in ("bits_per_weight", "rms_error", "max_error", "snr_db")),
    ]
    assert f"base:q4_K_M: worst of {len(lossy)}, {21 - len(lossy)} unchanged" in lines
    assert [line.split()[0] for line in lines[-5:]] == [tensor["name"] for tensor in lossy[:5]]


def test_verbose_table_names_every_tensor(built: Project) -> None:
    model = quality(built, "base:q8_0")["base:q8_0"]
    lines = built.run("-v", "quality", "base:q8_0").splitlines()
    for tensor, line in zip(model["tensors"], lines[-21:], strict=True):
        figures = [shown(tensor, measure) for measure in ("bits_per_weight", "rms_error", "max_error", "snr_db")]
        assert line.split() == [tensor["name"], "bf16", tensor["type"], *figures]


def test_variants_of_one_model_are_told_once(built: Project) -> None:
    assert quality(built, "chat", "base:q4_K_M")["base:q4_K_M"]["names"] == [
        "base:q4_K_M",
        "base:latest",
        "chat:latest",
    ]


# What is kept


def test_second_time_nothing_is_read(project: Project) -> None:
    first = project.run("quality", "--json")
    project.run("-v", "quality", "base:q8_0")
    assert "compare" not in project.errors
    # Not even the blobs: their bytes may change unseen, as long as nobody looks at them.
    for path in (project.models / "blobs").iterdir():
        if path.stat().st_size > 100_000:
            flip(path, path.stat().st_size - 40)
    assert project.run("quality", "--json") == first


def test_a_new_row_reads_only_its_own_tensors(project: Project) -> None:
    project.run("-v", "quality")
    # 21 in each of three models; the five norms are shared, and rows of 288 are q8_0 in q4_K_M too, once of two.
    assert "compare 52 tensors" in project.errors
    project.write("ModelBuild.toml", TOML.replace('"q8_0"', '"q6_K", "q8_0"'))
    project.build()
    project.run("-v", "quality")
    # The two tensors that q4_K_M keeps in q6_k, and those that do not change, are known.
    told = re.search(r"compare (\d+) tensors", project.errors)
    assert told and 0 < int(told[1]) < 21


# What there is nothing to say of


def test_weights_as_they_came_have_nothing_to_compare(built: Project) -> None:
    assert built.run("quality", "base:none") == ""
    assert "'base:none': nothing to compare" in built.errors
    assert json.loads(built.run("quality", "base:none", "--json")) == []


def test_imported_gguf_has_nothing_to_compare(project: Project) -> None:
    (project.folder / "made.gguf").write_bytes(project.blob("base:q4_K_M", "model"))
    project.write("ModelBuild.toml", '[project]\nname = "demo"\n[model.taken]\nfrom = "./made.gguf"\n')
    project.build()
    assert project.run("quality") == ""
    assert "'taken': nothing to compare" in project.errors


def test_requantized_import_is_compared_with_the_values_of_the_import(project: Project, tmp_path: Path) -> None:
    (project.folder / "made.gguf").write_bytes(project.blob("base:q8_0", "model"))
    again = '[model.again]\nfrom = "./made.gguf"\nquantize = "q4_K_M"\nallow_requantize = true\n'
    project.write("ModelBuild.toml", '[project]\nname = "demo"\n' + again)
    project.build()
    (tmp_path / "again.gguf").write_bytes(project.blob("again:latest", "model"))
    before, after = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        for path in (project.folder / "made.gguf", tmp_path / "again.gguf")
    )
    types = set()
    for told in quality(project)["again:latest"]["tensors"]:
        tensors = [file[told["name"]] for file in (before, after)]
        types.add((told["source_type"], told["type"]))
        assert [told["source_type"], told["type"]] == [tensor.tensor_type.name.lower() for tensor in tensors]
        source, stored = (gguf.quants.dequantize(x.data, x.tensor_type).astype(np.float64) for x in tensors)
        assert told["rms_error"] == pytest.approx(np.sqrt(np.mean((stored - source) ** 2)), rel=1e-6)
        assert told["max_error"] == pytest.approx(np.abs(stored - source).max(), rel=1e-5)
    assert types == {("f32", "f32"), ("q8_0", "q8_0"), ("q8_0", "q5_0"), ("q8_0", "q4_k"), ("q8_0", "q6_k")}


def test_what_is_not_built_is_an_error(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    project.write("ModelBuild.toml", TOML)
    checkpoints.write(tmp_path / "weights")
    assert project.run("quality", "base:q8_0", code=1) == ""
    assert project.errors.startswith("error: 'base:q8_0' is not built\n  hint  build it first: `modelbuild -C ")
    assert project.errors.endswith(" base:q8_0`\n")


def test_what_has_changed_since_is_an_error(project: Project) -> None:
    project.write("ModelBuild.toml", TOML.replace('"hello"', '"hello"\nquantize = "q8_0"'))
    config = project.folder / "weights/config.json"
    config.write_text(config.read_text().replace("10000.0", "20000.0"))
    project.run("quality", "base:q8_0", code=1)
    assert "'base:q8_0' has changed since it was built" in project.errors


def test_unknown_target_is_told_as_everywhere(built: Project) -> None:
    built.run("quality", "nobody", code=2)
    assert "'nobody' is not a model, a variant or a group" in built.errors


# Damage


def test_damaged_model_is_an_error_and_mended_by_a_build(project: Project) -> None:
    (layer,) = [each for each in project.manifest("base:q8_0")["layers"] if each["mediaType"].endswith("model")]
    path = project.models / "blobs" / layer["digest"].replace(":", "-")
    before = path.read_bytes()
    flip(path, len(before) - 1000)
    project.run("quality", "base:q8_0", code=1)
    assert "the model is damaged" in project.errors
    project.build("--force")
    assert path.read_bytes() == before
    assert quality(project, "base:q8_0")["base:q8_0"]["snr_db"] > 40


def test_model_of_a_store_that_lost_its_index_is_hashed_whole(project: Project) -> None:
    with contextlib.closing(sqlite3.connect(project.cache / "state.sqlite")) as db:
        db.execute("delete from tensor")
        db.commit()
    good = quality(project, "base:q8_0")["base:q8_0"]
    (layer,) = [each for each in project.manifest("base:q4_K_M")["layers"] if each["mediaType"].endswith("model")]
    path = project.models / "blobs" / layer["digest"].replace(":", "-")
    flip(path, path.stat().st_size - 1000)
    project.run("quality", "base:q4_K_M", code=1)
    assert "is damaged" in project.errors
    assert good["snr_db"] > 40


def test_weights_that_are_not_those_of_the_model_are_an_error(project: Project) -> None:
    path = project.folder / "weights/model.safetensors"
    flip(path, path.stat().st_size - 1000)
    # As a file system that keeps no time stamps would have it: only the bytes can tell.
    with contextlib.closing(sqlite3.connect(project.cache / "state.sqlite")) as db:
        assert db.execute("update file set stat = ? where path = ?", (signature(path.stat()), str(path))).rowcount
        db.commit()
    project.run("quality", "base:q8_0", code=1)
    assert "model.safetensors: the weights are not the ones that the model was built from" in project.errors
    project.run("quality", "base:q8_0", code=1)
    assert "build it first" in project.errors


# The page


def test_page_shows_the_figures_of_json(built: Project, tmp_path: Path) -> None:
    path = tmp_path / "quality.html"
    models = list(quality(built, "base", "--html", str(path)).values())
    assert len(models) == 3
    text = path.read_text()
    found = Page(text)
    check_figures(found, models)
    heat(found, models)
    built.run("quality", "base", "--html", str(path))
    assert path.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["quality.html"]


def test_page_lies_where_the_command_works(project: Project) -> None:
    text = project.run("quality", "base:q8_0", "--html", "page.html")
    assert (project.folder / "page.html").is_file()
    assert "base:q8_0" in text and "wrote page.html" in project.errors


@pytest.mark.parametrize("where", ["none/page.html", "weights"])
def test_page_that_cannot_be_written_is_an_error(built: Project, where: str) -> None:
    built.run("quality", "base:q8_0", "--html", where, code=2)
    assert built.errors.startswith("error: ") and where.split("/")[0] in built.errors


# In a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=2000", "--disable-sync"),
    *("--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-quic"),
    *("--enable-logging=stderr", "--v=0"),
)
WATCH = """<script>addEventListener("error", event => document.documentElement.dataset.wrong = event.message);
addEventListener("securitypolicyviolation", event => document.documentElement.dataset.wrong = event.blockedURI);</script>"""


def rendered(page: Path, profile: Path, fragment: str = "", then: str = "") -> Page:
    """The page after its script, and `then` another, have run in a browser; nothing may have gone wrong."""
    assert CHROMIUM is not None
    watched = page.with_name("watched.html")
    script = f"<script>{then}</script>" if then else ""
    watched.write_text(page.read_text().replace("<title>", WATCH + "<title>").replace("</body>", script + "</body>"))
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", f"{watched.as_uri()}#{fragment}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    found = Page(done.stdout.replace(WATCH, ""))
    (root,) = found.all("html")
    assert "data-wrong" not in root, root["data-wrong"]
    return found


def cells_shown(found: Page) -> list[dict[str, Any]]:
    return [cell for cell in found.within(found.ids("maps"), "td") if "data-tensor" in cell and "hidden" not in cell]


def tensor_of(models: list[Mapping[str, Any]], cell: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = models[int(cell["data-model"])]["tensors"][int(cell["data-tensor"])]
    return found


@pytest.mark.peer
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian package chromium)")
def test_page_in_a_browser_shows_the_figures_of_json(built: Project, tmp_path: Path) -> None:
    path = tmp_path / "quality.html"
    models: list[Mapping[str, Any]] = list(quality(built, "base", "--html", str(path)).values())
    for measure in MEASURES:
        found = rendered(path, tmp_path / "profile", f"measure={measure}&all=")
        check_figures(found, models)
        heat(found, models, measure)
        (pressed,) = [each for each in found.all("button") if each.get("aria-pressed") == "true"]
        assert pressed["data-measure"] == measure
        # The script ran to its end: the worst tensor glows most, and the ends of the scale are figures of the page.
        cells = [cell for cell in cells_shown(found) if not tensor_of(models, cell)["exact"]]
        by_value = sorted(cells, key=lambda cell: float(tensor_of(models, cell)[measure]))
        best, most = (
            (by_value[-1], by_value[0]) if measure in ("snr_db", "bits_per_weight") else (by_value[0], by_value[-1])
        )
        assert "--heat: 0.0000" in best["style"] and "--heat: 1.0000" in most["style"]
        ends = (found.ids("cold")["text"], found.ids("warm")["text"])
        assert ends == (shown(tensor_of(models, best), measure), shown(tensor_of(models, most), measure))
        assert found.ids("count")["text"] == "63 of 63"


@pytest.mark.peer
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian package chromium)")
def test_page_in_a_browser_hides_a_model(built: Project, tmp_path: Path) -> None:
    path = tmp_path / "quality.html"
    built.run("quality", "base", "--html", str(path))
    found = rendered(path, tmp_path / "profile", "off=0,2&own=")
    assert {cell["data-model"] for cell in cells_shown(found)} == {"1"}
    assert found.ids("count")["text"] == "21 of 63"
    assert (found.ids("cold")["text"], found.ids("warm")["text"]) == ("better", "worse")


@pytest.mark.peer
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian package chromium)")
def test_page_in_a_browser_sorts_finds_and_points(built: Project, tmp_path: Path) -> None:
    path = tmp_path / "quality.html"
    models: list[Mapping[str, Any]] = list(quality(built, "base", "--html", str(path)).values())
    found = rendered(
        path,
        tmp_path / "profile",
        then="""document.querySelector("th[data-key=max_error] button").click();
        document.getElementById("find").value = "ATTN_V";
        document.getElementById("find").dispatchEvent(new Event("input"));
        document.querySelector("#maps td[data-tensor]").dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));""",
    )
    check_figures(found, models)
    rows = found.within(found.within(found.ids("tensors"), "tbody")[0], "tr")
    errors = [tensor_of(models, row)["max_error"] for row in rows]
    assert errors == sorted(errors)
    assert [row for row in rows if "hidden" not in row] == [row for row in rows if "attn_v" in row["text"]]
    assert found.ids("count")["text"] == "6 of 63"
    first = cells_shown(found)[0]
    tip = found.ids("tip")
    assert "hidden" not in tip
    for model, line in zip(models, found.within(found.within(tip, "tbody")[0], "tr"), strict=True):
        (tensor,) = [each for each in model["tensors"] if each["name"] == tensor_of(models, first)["name"]]
        cells = [cell["text"] for cell in found.within(line, "td")]
        assert cells == [model["name"], f"bf16 → {tensor['type']}", *(shown(tensor, measure) for measure in MEASURES)]

"""What FROM means, before any step is declared for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.ollama import manifest
from modelbuild.ollama.name import Name
from modelbuild.plan.bases import Bases, Candidates
from modelbuild.plan.hub import Downloaded, Hub
from modelbuild.plan.pulled import NotPulled, Pulled, PulledModels
from modelbuild.plan.weights import CheckpointFolder, Weights, WeightsReader
from modelbuild.project.project import Project
from tests.ollama.test_survey import install
from tests.plan.test_plan import CHECKPOINT, gguf_file, library
from tests.projects import load


def base(project: Project, label: str, root: Path) -> Weights | Candidates | Pulled | Downloaded:
    observed = Observed()
    variant = next(variant for variant in project.variants if variant.label == label)
    return bases(project, observed, root).base(variant)


def bases(project: Project, observed: Observed, root: Path) -> Bases:
    weights = WeightsReader(observed)
    models = PulledModels(observed, weights, [str(root / "models")], {}, None)
    return Bases(project, observed, weights, models, Hub(observed, weights, {}))


def of(
    root: Path, toml: str, files: Mapping[str, str | bytes], label: str = "a"
) -> Weights | Candidates | Pulled | Downloaded:
    return base(load(root, toml, files), label, root)


def test_a_path_means_weights(tmp_path: Path) -> None:
    files = {**CHECKPOINT, "x.gguf": gguf_file()}
    assert isinstance(of(tmp_path, '[model.a]\nfrom = "./weights"\n', files), CheckpointFolder)
    (file,) = of(tmp_path, '[model.a]\nfrom = "./x.gguf"\n', files)  # type: ignore[misc]
    assert file.contents.role == "model"


def test_a_name_means_a_model_of_the_project_before_one_of_a_models_folder(tmp_path: Path) -> None:
    toml = (
        '[model.a]\nfrom = "base"\n[model.base]\nfrom = "./x.gguf"\n[model.base.matrix]\nquantize = ["q8_0", "none"]\n'
    )
    found = of(tmp_path, toml, {"x.gguf": gguf_file(), **library(tmp_path)})
    assert isinstance(found, Candidates)
    assert [variant.label for variant in found.variants] == ["base:q8_0", "base:none"]


def test_a_name_means_what_a_models_folder_has_of_it(tmp_path: Path) -> None:
    files = library(tmp_path, template=b"T", params=manifest.params_blob({"top_k": 3}))
    found = of(tmp_path, '[model.a]\nfrom = "base"\n', files)
    assert isinstance(found, Pulled)
    assert (found.name, found.unquantized, found.parameters) == ("base:latest", True, {"top_k": 3})
    assert [media_type for media_type, _ in found.blobs] == [manifest.MODEL, manifest.TEMPLATE, manifest.PARAMS]
    assert Path(found.blobs[1][1].path).read_bytes() == b"T"
    assert (found.config["renderer"], found.config["base"]["model_family"]) == ("odd", "llama")


def test_a_model_is_no_base_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(Error, match="'a' is based on itself"):
        of(tmp_path, '[model.a]\nfrom = "a"\n', library(tmp_path, "a:latest"))


def test_the_last_of_several_names_counts_and_the_others_are_warned_of(tmp_path: Path) -> None:
    files = {"Modelfile": "FROM none\nFROM base\n", **library(tmp_path)}
    project = load(tmp_path, '[model.a]\nmodelfile = "Modelfile"\n', files)
    observed = Observed()
    found = bases(project, observed, tmp_path)
    assert isinstance(found.base(project.variants[0]), Pulled)
    assert [warning.what for warning in found.warnings] == ["FROM 'none' has no effect: FROM 'base' below replaces it"]


def hint(root: Path, text: str, files: Mapping[str, str | bytes] | None = None) -> str | None:
    with pytest.raises(Error) as caught:
        of(root, f'[model.a]\nfrom = "{text}"\n', files or {})
    return caught.value.hint


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("Org/Tiny:8b", "Org/Tiny:8b"),
        ("hf.co/Org/Tiny", "hf.co/Org/Tiny"),
        ("hf.co/Org/Tiny:Q4_K_M", "hf.co/Org/Tiny:Q4_K_M"),
        ("https://huggingface.co/Org/Tiny", "hf.co/Org/Tiny"),
        ("hf://Org/Tiny@v1.0", "hf.co/Org/Tiny@v1.0"),
    ],
)
def test_a_model_that_is_nowhere_is_to_be_pulled(tmp_path: Path, text: str, wanted: str) -> None:
    with pytest.raises(NotPulled) as caught:
        of(tmp_path, f'[model.a]\nfrom = "{text}"\n', {})
    assert caught.value.wanted == (wanted, None)
    (error,) = caught.value.errors
    assert (error.path, error.line, error.what) == ("ModelBuild.toml", 2, f"model 'a': '{text}' is not pulled yet")


def test_a_modelfile_keeps_to_names_that_ollama_knows(tmp_path: Path) -> None:
    files = {"Modelfile": "FROM hf://Org/Tiny\n"}
    with pytest.raises(Error, match="not a name that Ollama knows"):
        base(load(tmp_path, '[model.a]\nmodelfile = "Modelfile"\n', files), "a", tmp_path)


def test_a_folder_around_the_weights_is_answered_with_theirs(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"all/notes/x": "", "all/tiny/model.safetensors": "", "none/": ""}
    assert hint(tmp_path, "./all", files) == "did you mean './all/tiny'?"
    assert hint(tmp_path, "./none") == "download the whole folder of the model, or name a GGUF file"


def test_a_model_of_a_part_comes_before_a_folder_of_its_address(tmp_path: Path) -> None:
    own = '[project]\ninclude = ["*/ModelBuild.toml"]\n[model.a]\nfrom = "vision/chat"\n[model.w]\nfrom = "./vision/chat"\n'
    files = {f"vision/chat/{Path(name).name}": data for name, data in CHECKPOINT.items()}
    part = '[model.chat]\nfrom = "./chat"\n[model.b]\nfrom = "chat"\n'
    project = load(tmp_path, own, {**files, "vision/ModelBuild.toml": part})
    for label in ("a", "vision/b"):
        found = base(project, label, tmp_path)
        assert isinstance(found, Candidates) and [each.label for each in found.variants] == ["vision/chat"]
    for label in ("w", "vision/chat"):
        assert isinstance(base(project, label, tmp_path), CheckpointFolder)


def test_a_modelfile_says_which_is_meant_the_folder_or_the_model_of_a_part(tmp_path: Path) -> None:
    own = '[project]\ninclude = ["*/ModelBuild.toml"]\n[model.a]\nmodelfile = "Modelfile"\n'
    files = {
        "Modelfile": "FROM vision/chat\n",
        "vision/chat/x": "",
        "vision/ModelBuild.toml": '[model.chat]\nfrom = "./x"\n',
    }
    with pytest.raises(Error, match="'vision/chat' is both a folder here and a model of this project"):
        of(tmp_path, own, files)


def test_a_misspelled_model_of_the_part_is_no_name_of_elsewhere(tmp_path: Path) -> None:
    own = '[project]\ninclude = ["*/ModelBuild.toml"]\n'
    part = '[model.chat]\nfrom = "./x"\n[model.a]\nfrom = "chatt"\n'
    with pytest.raises(Error) as caught:
        of(tmp_path, own, {"vision/ModelBuild.toml": part}, "vision/a")
    assert (caught.value.hint or "").startswith("did you mean 'chat'?")


@pytest.mark.parametrize("is_modelfile", [False, True])
@pytest.mark.parametrize("text", ["vision/x", "vision/chat:v9"])
def test_a_model_that_a_part_lacks_is_neither_an_installed_one_nor_a_registry_s(
    tmp_path: Path, text: str, is_modelfile: bool
) -> None:
    base = 'modelfile = "Modelfile"' if is_modelfile else f'from = "{text}"'
    own = f'[project]\ninclude = ["*/ModelBuild.toml"]\n[model.a]\n{base}\n'
    files: dict[str, str | bytes] = {"vision/ModelBuild.toml": '[model.chat]\nfrom = "./x"\n', "x/Modelfile": ""}
    if is_modelfile:
        files["Modelfile"] = f"FROM {text}\n"
    name = Name.parse(text)
    install(tmp_path / "models", name.path(), "stale")
    with pytest.raises(Error, match=f"part 'vision' of this project has no model '{text.partition('/')[2]}'") as caught:
        of(tmp_path, own, files)
    assert f"write '{name.whole()}'" in (caught.value.hint or "")
    files = {path: str(data).replace(text, name.whole()) for path, data in files.items()}
    assert isinstance(of(tmp_path, own.replace(text, name.whole()), files), Pulled)

"""docs/modelbuild-toml.md against the schema: each key has its row, and what it shows is right."""

from __future__ import annotations

import re
from pathlib import Path

from modelbuild.project import schema
from modelbuild.project.keys import KEYS
from modelbuild.tensors import ftypes
from tests.projects import load

PAGE = (Path(__file__).parents[2] / "docs" / "modelbuild-toml.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, str]:
    """First cell's words -> the row, of the table below a heading."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n#")[0]
    found = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            for key in re.findall(r"`([^`]+)`", line.split("|")[1]):
                found[key] = line
    return found


def test_every_key_of_a_model_has_a_row() -> None:
    table = rows("### [model.NAME] and [defaults]")
    assert set(table) == set(KEYS)
    for key, row in table.items():
        in_defaults = row.split("|")[4].strip()
        assert (in_defaults == "D") == (key in schema.keys(schema.Defaults)), key


def test_every_key_of_the_project_has_a_row() -> None:
    assert set(rows("### [project]")) == set(schema.keys(schema.Project))


def test_every_type_is_named() -> None:
    section = PAGE[PAGE.index("A **type** is") : PAGE.index("A **text** is")]
    assert all(f"`{name}`" in section for name in ftypes.KNOWN)


def test_every_key_of_a_mix_has_a_row() -> None:
    assert set(rows("## [ftype.NAME]")) == set(schema.keys(schema.Ftype))


def test_the_first_example_is_a_project(tmp_path: Path) -> None:
    block = re.search(r"(?:^    .*\n|^\n)+", PAGE[PAGE.index("    [project]") :], re.MULTILINE)
    assert block is not None
    example = re.sub("^    ", "", block[0], flags=re.MULTILINE)
    files = {"support/Modelfile": "FROM ./x\n", "models/persona-a/Modelfile": "FROM ./x\n"}
    loaded = load(tmp_path, example, files)
    names = [[name.display() for name in each.names] for each in loaded.variants]
    assert names == [
        ["acme/support:q8_0"], ["acme/support:q4_K_M", "acme/support:latest"], ["acme/persona-a:latest"],
    ]  # fmt: skip
    assert loaded.variants[2].parameters == {"num_ctx": 8192}
    assert [each.label for each in loaded.select(["release"])] == ["support:q8_0", "support:q4_K_M", "persona-a"]


def test_the_example_of_rows_is_what_it_says(tmp_path: Path) -> None:
    section = PAGE[PAGE.index("## Rows") : PAGE.index("## Names")]
    blocks = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    example = re.sub("^    ", "", "".join(blocks), flags=re.MULTILINE)
    labels = [each.label for each in load(tmp_path, example).variants]
    assert labels == [
        "release:small-terse-q8_0", "release:small-terse-q4_K_M", "release:small-kind-q8_0", "release:small-kind-q4_K_M",
        "release:large-terse-q4_K_M", "release:large-kind-q4_K_M", "release:small-terse-f16",
    ]  # fmt: skip


def test_the_example_of_a_mix_is_a_mix(tmp_path: Path) -> None:
    block = re.search(r"(?:^    .*\n)+", PAGE[PAGE.index("    [ftype.wide]") :], re.MULTILINE)
    assert block is not None
    plain, wide = load(tmp_path, re.sub("^    ", "", block[0], flags=re.MULTILINE)).variants
    assert (plain.label, wide.label, plain.mix) == ("chat:q4_K_M", "chat:wide", None)
    assert wide.mix == {
        "base": "q4_K_M",
        "tensors": [[r"attn_v\.weight$", "q6_k"], [r"blk\.[01]\.ffn_", "q8_0"]],
        "token_embedding_type": "q8_0",
    }


def test_what_lies_over_what(tmp_path: Path) -> None:
    """Each layer of the page's list says `system`; taken away from the top, the next one down shows."""
    layers = [
        '[defaults]\nsystem = "2"\n',
        '[model."m*"]\nsystem = "4"\n',
        '[model.base]\nfrom = "x"\nsystem = "5"\n',
        '[model.m]\nmodelfile = "Modelfile"\ndescription = "${matrix.free}"\nmatrix.free = ["a"]\nextends = "base"\n',
        'system = "6"\n',
        'matrix.system = { s = "7" }\n',
    ]

    def system(text: str, modelfile: str, **options: tuple[str, ...]) -> str | None:
        loaded = load(tmp_path, text, {"Modelfile": modelfile}, **options)  # type: ignore[arg-type]
        return next(each.string("system") for each in loaded.variants if each.model == "m")

    whole, own = "".join(layers), "FROM x\nSYSTEM 3\n"
    assert system(whole, own, sets=('m.matrix.system={s="8"}',)) == "8"
    assert system(whole, own) == "7"
    assert system("".join(layers[:5]), own) == "6"
    assert system("".join(layers[:4]), own) == "5"
    without = "".join(layers[:4]).replace('system = "5"\n', "")
    assert system(without, own) == "4"
    assert system(without.replace('system = "4"\n', ""), own) == "3"
    assert system(without.replace('system = "4"\n', ""), "FROM x\n") == "2"


def test_the_example_of_metadata_is_what_it_says(tmp_path: Path) -> None:
    block = re.search(r"(?:^    .*\n)+", PAGE[PAGE.index("    [model.support]\n    from") :], re.MULTILINE)
    assert block is not None
    (support,) = load(tmp_path, re.sub("^    ", "", block[0], flags=re.MULTILINE), {"chat.jinja": "{{ x }}"}).variants
    assert support.metadata == {
        "general.name": "Support", "general.author": "Acme", "general.license": "apache-2.0", "general.tags": ["support", "chat"],
        "general.base_models": [{"name": "Llama 3.2 1B", "organization": "Meta Llama"}], "tokenizer.chat_template": "{{ x }}",
        "llama.context_length": 16384,
    }  # fmt: skip


def test_the_example_of_parts_is_what_it_says(tmp_path: Path) -> None:
    section = PAGE[PAGE.index("## Parts") : PAGE.index("## Which value wins")]
    blocks = [each for each in re.findall(r"(?:^    .*\n|^\n)+", section, re.MULTILINE) if each.strip()]
    whole, part = (re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks)
    support = "[project]\n[model.bot]\nfrom = 'base'\n"
    files = {
        "teams/vision/ModelBuild.toml": part,
        "teams/support/ModelBuild.toml": support,
        "teams/vision/prompts/tuned.txt": "x",
    }
    loaded = load(tmp_path, whole, files)
    assert not loaded.broken and [each.label for each in loaded.variants] == [
        "base",
        "support/bot",
        "vision/chat",
        "vision/tuned",
    ]
    assert [each.names[0].display() for each in loaded.select(["vision"])] == ["vision/chat:latest"]
    assert [each.label for each in loaded.select(["vision/*"])] == ["vision/chat", "vision/tuned"]
    assert [each.label for each in loaded.select(["release"])] == ["support/bot", "vision/chat"]
    acme = load(tmp_path, whole.replace("[project]\n", '[project]\nnamespace = "acme"\n', 1), files)
    assert [each.names[0].display() for each in acme.select(["vision"])] == ["acme/chat:latest"]

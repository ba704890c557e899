"""Small projects on disk for tests of the project side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from modelbuild.errors import Error, Errors, once, render
from modelbuild.observed import Observed
from modelbuild.project import loader
from modelbuild.project.overrides import Overrides
from modelbuild.project.project import Project
from modelbuild.project.variant import Variant

GOLDEN = Path(__file__).parent / "golden" / "project"

FROM = "FROM ./weights\n"
M = '[model.m]\nmodelfile = "m/Modelfile"\n'
R = '[model.m]\nfrom = "./x"\n'


class Kept(dict[str, bytes]):
    """The smallest `Keep`."""

    def put(self, key: str, value: bytes) -> None:
        self[key] = value


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder; a name that ends in '/' makes a folder, a text '-> x' a link."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif isinstance(text, bytes):
            path.write_bytes(text)
        elif text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text, encoding="utf-8", newline="")


def load(
    root: Path,
    toml: str | None = None,
    files: Mapping[str, str | bytes] | None = None,
    *,
    file: str = "ModelBuild.toml",
    keep: Kept | None = None,
    vars: Mapping[str, str] | None = None,
    sets: tuple[str, ...] = (),
    name: str | None = None,
    quantize: str | None = None,
    observed: Observed | None = None,
) -> Project:
    write(root, files or {})
    if toml is not None:
        (root / "ModelBuild.toml").write_text(toml, encoding="utf-8", newline="")
    return loader.load(
        os.path.join(root, file),
        observed=observed or Observed(),
        keep=Kept() if keep is None else keep,
        given=Overrides(vars or {}, sets, name, quantize),
    )


def declared(project: Project) -> tuple[object, ...]:
    """All that is the same of a project however it was loaded: not its warnings, and not where each value comes from."""
    targets = project.targets
    told = (targets.groups, targets.called, targets.default, targets.parts)
    return (*project._replace(targets=None, warnings=(), origins={}, unowned=frozenset()), *told)  # type: ignore[arg-type]


def right(root: Path, *args: object, **kwargs: object) -> Project:
    """A project of which nothing is broken. Raises Errors, by place, where something is."""
    loaded = load(root, *args, **kwargs)  # type: ignore[arg-type]
    errors = once(error for each in loaded.broken for error in each.errors)
    if errors:
        toml = os.path.basename(loaded.file)
        raise Errors(sorted(errors, key=lambda e: (e.path != toml, e.path or "", e.line or 0, e.column or 0)))
    return loaded


def complaint(root: Path, *args: object, **kwargs: object) -> str:
    """The rendered errors of a project of which something is wrong, else its rendered warnings."""
    try:
        loaded = right(root, *args, **kwargs)
    except (Error, Errors) as error:
        return f"{error}\n".replace(str(root), "ROOT")
    return "".join(f"{render(warning, 'warning')}\n" for warning in loaded.warnings)


def labels(loaded: Project, *targets: str) -> list[str]:
    return [variant.label for variant in loaded.select(targets)]


def names(loaded: Project) -> list[list[str]]:
    return [[name.display() for name in variant.names] for variant in loaded.variants]


def one(tmp_path: Path, toml: str, modelfile: str = FROM) -> Variant:
    """The one variant of a project, beside whose text a Modelfile stands in m/."""
    loaded = load(tmp_path, toml, {"m/Modelfile": modelfile})
    assert len(loaded.variants) == 1
    return loaded.variants[0]


def check_golden(case: str, text: str) -> None:
    """Compare with tests/golden/project/CASE.txt; UPDATE_GOLDEN=1 writes it."""
    path = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
    assert text, "nothing was said"

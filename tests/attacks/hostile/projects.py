"""Numbers in a ModelBuild.toml."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from . import TOML, case, each, put

HEX = "0x" + "f" * 4000


def toml(folder: Path, text: str) -> None:
    (folder / "ModelBuild.toml").write_text(text)


each("toml", {
    "of-four-million-characters": lambda folder: toml(folder, f'{TOML}system = "{"x" * 4_000_000}"\n'),
    "hexadecimal-variable": partial(toml, text=f'{TOML}system = "${{x}}"\n[vars]\nx = {HEX}\n'),
    "hexadecimal-system": partial(toml, text=f"{TOML}system = {HEX}\n"),
    "hexadecimal-quantize": partial(toml, text=f"{TOML}quantize = {HEX}\n"),
    "hexadecimal-parameter": partial(toml, text=f"{TOML}parameters.seed = {HEX}\n"),
    "hexadecimal-temperature": partial(toml, text=f"{TOML}parameters.temperature = {HEX}\n"),
    "hexadecimal-axis": partial(toml, text=f"{TOML}matrix.x = [{HEX}, 2]\n"),
    "hexadecimal-metadata": partial(toml, text=f'{TOML}metadata."acme.x" = {HEX}\n'),
    "hexadecimal-general": partial(toml, text=f"{TOML}metadata.general.name = {HEX}\n"),
    "hexadecimal-from": partial(toml, text=f"[model.m]\nfrom = {HEX}\n"),
    "hexadecimal-tags": partial(toml, text=f"{TOML}tags = [{HEX}]\n"),
    "metadata-of-400-digits": partial(toml, text=f'{TOML}metadata."acme.x" = {"9" * 400}\n'),
    "metadata-list-of-400-digits": partial(toml, text=f'{TOML}metadata."acme.x" = [{"9" * 400}]\n'),
    "sampling-of-400-digits": partial(toml, text=f'{TOML}metadata."general.sampling.temp" = {"9" * 400}\n'),
    "sampling-of-minus-400-digits": partial(toml, text=f'{TOML}metadata."general.sampling.top_p" = -{"9" * 400}\n'),
    "scale-of-400-digits": partial(toml, text=f'{TOML}adapters = [{{ path = "x", scale = {"9" * 400} }}]\n'),
})  # fmt: skip


@case(heavy=True)
def toml_of_as_many_keys_as_it_may_have(folder: Path) -> None:
    toml(folder, f"{TOML}[vars]\n" + "".join(f"k{number:07} = 1\n" for number in range(290_000)))


@case(heavy=True)
def modelfile_of_150_mib(folder: Path) -> None:
    put(folder, "m/Modelfile", [b"FROM ../weights\nSYSTEM ", b"x" * (150 << 20)])
    toml(folder, '[model.m]\nmodelfile = "m/Modelfile"\n')


@case(heavy=True)
def system_text_of_60_mib(folder: Path) -> None:
    put(folder, "text", b"x" * (60 << 20))
    toml(folder, f'{TOML}system = {{ file = "text" }}\n')


@case(heavy=True)
def modelfile_of_60_mib(folder: Path) -> None:
    put(folder, "m/Modelfile", [b"FROM ../weights\nSYSTEM ", b"x" * (60 << 20)])
    toml(folder, '[model.m]\nmodelfile = "m/Modelfile"\n')

"""Numbers in a ModelBuild.toml."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from . import TOML, each

HEX = "0x" + "f" * 4000


def toml(folder: Path, text: str) -> None:
    (folder / "ModelBuild.toml").write_text(text)


each("toml", {
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

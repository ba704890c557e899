"""The page of `modelbuild quality --html`: one file that shows its figures without a network, and without scripts as tables.

Figures stand in `<data>` elements: their value as `--json` has it, their text rounded. The script reads both from the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from modelbuild.cli.pages import _page
from modelbuild.tensors.quality import MEASURES, shown, worst

Data = Mapping[str, Any]
"""A model or a tensor as `--json` has it."""

_TITLES = {
    "snr_db": "signal to noise, dB",
    "rms_error": "RMS error",
    "max_error": "max error",
    "bits_per_weight": "bits per weight",
}
_KLD = "KL divergence, nats"
_ORDER = (
    *("attn_norm", "attn_qkv", "attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm", "ffn_norm"),
    *("ffn_gate_inp", "ffn_gate", "ffn_up", "ffn_down", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"),
    *("token_embd", "output", "output_norm"),
)
"""Kinds in the order in which a model computes; others follow as the file has them."""


def page(models: Sequence[Data]) -> str:
    """Make the page of what `--json` prints."""
    measured = any(model.get("divergence") for model in models)
    parts = {
        "measure_heads": "".join(
            f'<th scope="col" class="number">{title}</th>'
            for title in (*_TITLES.values(), *([_KLD] if measured else []))
        ),
        "models": "\n".join(_model(model, measured) for model in models),
        "buttons": "".join(
            f'<button type="button" data-measure="{key}" aria-pressed="{str(key == "snr_db").lower()}">{title}</button>'
            for key, title in _TITLES.items()
        ),
        "choice": "".join(
            f'<label><input type="checkbox" value="{number}" checked> {escape(model["name"])}</label>'
            for number, model in enumerate(models)
        ),
        "heat": _heat(models),
        "tensor_heads": _tensor_heads(),
        "tensors": "\n".join(row for number, model in enumerate(models) for row in _tensors(number, model)),
        "measures": json.dumps(list(MEASURES)),
        # Nothing in it may end the script element.
        "data": json.dumps(models, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return _page.page("quality", "Quantization error: " + ", ".join(model["name"] for model in models), parts)


def _figure(values: Data, measure: str) -> str:
    value = values[measure]
    return f'<data class="{measure}" value="{"" if value is None else repr(value)}">{shown(values, measure)}</data>'


def _figures(values: Data) -> str:
    return "".join(f'<td class="number">{_figure(values, measure)}</td>' for measure in MEASURES)


def _count(measure: str, value: int) -> str:
    return f'<td class="number"><data class="{measure}" value="{value}">{value:,}</data></td>'


def _model(model: Data, measured: bool) -> str:
    """A row of the table of models; with the divergence where any of them was `measured`."""
    kld = (model.get("divergence") or {}).get("kld")
    told = f'<td class="number"><data class="kld" value="{"" if kld is None else kld!r}">{_nats(kld)}</data></td>'
    others = [escape(name) for name in model["names"][1:]]
    more = f' <span class="other">{", ".join(others)}</span>' if others else ""
    return (
        f'<tr><th scope="row">{escape(model["name"])}{more}</th><td>{escape(model["ftype"] or "-")}</td>'
        f"{_count('model_bytes', model['model_bytes'])}{_count('weights', model['weights'])}{_figures(model)}"
        f"{told if measured else ''}</tr>"
    )


def _nats(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _tensor_heads() -> str:
    columns = {
        "model": "model",
        "name": "tensor",
        "source_type": "from",
        "type": "type",
        "weights": "weights",
        **_TITLES,
    }
    heads = []
    for key, title in columns.items():
        number = ' class="number"' if key in MEASURES or key == "weights" else ""
        heads.append(f'<th scope="col" data-key="{key}"{number}><button type="button">{title}</button></th>')
    # As the shape sorts by nothing that the number of weights doesn't tell.
    heads.insert(4, '<th scope="col">shape</th>')
    return "".join(heads)


def _tensors(number: int, model: Data) -> Iterator[str]:
    name = escape(model["name"])
    places = {id(tensor): place for place, tensor in enumerate(model["tensors"])}
    for tensor in worst(model["tensors"]):
        shape = " × ".join(map(str, tensor["shape"]))
        yield (
            f'<tr data-model="{number}" data-tensor="{places[id(tensor)]}"><td>{name}</td>'
            f'<th scope="row">{escape(tensor["name"])}</th>'
            f"<td>{tensor['source_type']}</td><td>{tensor['type']}</td><td>{shape}</td>"
            f"{_count('weights', tensor['weights'])}{_figures(tensor)}</tr>"
        )


def _heat(models: Sequence[Data]) -> str:
    """One table: a row for each block and one for what belongs to none, and for each model a group of columns, the kinds."""
    groups = [_kinds(model) for model in models]
    top, heads = ['<th rowspan="2" scope="col">block</th>'], []
    for number, (model, kinds) in enumerate(zip(models, groups, strict=True)):
        lossy = sum(kinds.values())
        top.append(
            f'<th scope="colgroup" colspan="{lossy}" class="begin first" data-model="{number}" data-lossy="{lossy}"'
            f' data-columns="{len(kinds)}">{escape(model["name"])}</th>'
        )
        heads += [
            f'<th scope="col"{_classes(kinds, kind)} data-model="{number}">{_heading(kind)}</th>' for kind in kinds
        ]
    blocks: dict[int | None, None] = {None: None} if any(_outside(model) for model in models) else {}
    blocks |= dict.fromkeys(
        sorted({tensor["block"] for model in models for tensor in model["tensors"] if tensor["block"] is not None})
    )
    found = {
        (number, tensor["block"], tensor["kind"]): (place, tensor)
        for number, model in enumerate(models)
        for place, tensor in enumerate(model["tensors"])
    }
    rows = []
    for block in blocks:
        row = [f'<th scope="row">{"none" if block is None else block}</th>']
        for number, kinds in enumerate(groups):
            for kind in kinds:
                classes = _classes(kinds, kind)
                if (number, block, kind) in found:
                    place, tensor = found[number, block, kind]
                    text = shown(tensor, "snr_db")
                    row.append(f'<td{classes} data-model="{number}" data-tensor="{place}">{text}</td>')
                else:
                    row.append(f'<td{classes} data-model="{number}"></td>')
        rows.append(f"<tr>{''.join(row)}</tr>")
    body = "\n".join(rows)
    return f"<thead><tr>{''.join(top)}</tr><tr>{''.join(heads)}</tr></thead>\n<tbody>\n{body}\n</tbody>"


def _heading(kind: str) -> str:
    text = escape(kind)
    return text.replace("_", "_<wbr>") if len(kind) > 8 else text


def _kinds(model: Data) -> dict[str, bool]:
    """The kinds of a model's tensors in the order of columns, and whether any tensor of the kind has an error."""
    lossy: dict[str, bool] = {}
    outside = {tensor["kind"] for tensor in _outside(model)}
    for tensor in model["tensors"]:
        lossy[tensor["kind"]] = lossy.get(tensor["kind"], False) or not tensor["exact"]
    order = {kind: number for number, kind in enumerate(_ORDER)}
    kinds = sorted(lossy, key=lambda kind: (kind in outside, order.get(kind, len(order))))
    return {kind: lossy[kind] for kind in kinds}


def _outside(model: Data) -> list[Data]:
    return [tensor for tensor in model["tensors"] if tensor["block"] is None]


def _classes(kinds: Mapping[str, bool], kind: str) -> str:
    """Classes of a column: one without an error is shown on demand, so the group begins at one of two."""
    first = next((each for each, lossy in kinds.items() if lossy), None)
    classes = {"begin": kind == next(iter(kinds)), "first": kind == first, "quiet": not kinds[kind]}
    given = " ".join(name for name, holds in classes.items() if holds)
    return f' class="{given}"' if given else ""

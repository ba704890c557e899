"""Chat templates: programs that come with the weights."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from . import byte_pairs, case, change, each, put

MIB = 1 << 20


def jinja(folder: Path, text: str) -> None:
    put(folder, "weights/chat_template.jinja", text)
    change(folder, "tokenizer_config.json", tokenizer_class="LlamaTokenizer")


each("template", {
    "loops": partial(jinja, text="{% for a in range(60000) %}" * 30 + "x" + "{% endfor %}" * 30),
    "doubling": partial(jinja, text="{% set x = 'ab' %}" + "{% set x = x + x %}" * 60 + "{{ x }}"),
    "doubled-lists": partial(jinja, text="{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}"),
    "power": partial(jinja, text="{{ 'a' * 999999999999 }}"),
    "big-numbers": partial(jinja, text="{% set x = 999999999999999999 %}" + "{% set x = x * x %}" * 40 + "{{ x }}"),
    "macro-of-itself": partial(jinja, text="{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}"),
    "replaced": partial(
        jinja, text="{% set x = 'a' * 60000 %}{{ x.replace('', x) }}{{ x | replace('a', x) }}{{ x | indent(60000) }}"
    ),
    "parentheses": partial(jinja, text="{{ " + "(" * 20_000 + ")" * 20_000 + " }}"),
    "signs": partial(jinja, text="{{ " + "-" * 100_000 + "1 }}"),
    "sums": partial(jinja, text="{{ " + "1+" * 50_000 + "1 }}"),
    "members": partial(jinja, text="{{ x" + ".a" * 50_000 + " }}"),
    "ifs": partial(jinja, text="{% if x %}" * 10_000),
    "comments-without-end": partial(jinja, text="{#" * 50_000),
    "blanks-before-tags": partial(jinja, text=(" " * 1000 + "{%- if x %}") * 200),
    "names-of-python": partial(jinja, text="{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "format": partial(jinja, text="{{ '%999999999d' % 1 }}{{ '{:>999999999}'.format(1) }}"),
    "of-nothing-but-quotes": partial(jinja, text="{{ '" + "\\" * 200_000 + " }}"),
})  # fmt: skip


@case(heavy=True)
def template_of_190_mib(folder: Path) -> None:
    put(folder, "weights/chat_template.jinja", b"x" * (190 * MIB))
    change(folder, "tokenizer_config.json", tokenizer_class="LlamaTokenizer")


@case(heavy=True)
def templates_by_the_hundred(folder: Path) -> None:
    jinja(folder, "x")
    for number in range(100):
        put(folder, f"weights/additional_chat_templates/t{number}.jinja", b"x" * (8 * MIB))


@case
def templates_of_50000_names(folder: Path) -> None:
    entries = [{"name": f"n{number}", "template": "x"} for number in range(50_000)]
    change(folder, "tokenizer_config.json", tokenizer_class="LlamaTokenizer", chat_template=entries)


@case(heavy=True)
def tokenizer_config_of_150_mib(folder: Path) -> None:
    put(folder, "weights/tokenizer_config.json", json.dumps({"chat_template": "x" * (150 * MIB)}))


@case(heavy=True)
def tokenizer_config_of_300000_added_tokens(folder: Path) -> None:
    byte_pairs(folder)
    decoder = {str(number): {"content": f"<|{number}|>"} for number in range(300_000)}
    change(folder, "tokenizer_config.json", added_tokens_decoder=decoder)


@case
def special_tokens_30000_in_two_files(folder: Path) -> None:
    """Each of one list was looked for in the other."""
    byte_pairs(folder)
    change(folder, "tokenizer_config.json", additional_special_tokens=[f"<|a{number}|>" for number in range(30_000)])
    names = [f"<|b{number}|>" for number in range(30_000)]
    put(folder, "weights/special_tokens_map.json", json.dumps({"additional_special_tokens": names}))


@case
def added_tokens_30000_beside_30000_special_ones(folder: Path) -> None:
    byte_pairs(folder)
    change(folder, "tokenizer_config.json", additional_special_tokens=[f"<|a{number}|>" for number in range(30_000)])
    put(folder, "weights/added_tokens.json", json.dumps({f"<|b{number}|>": 300 + number for number in range(30_000)}))

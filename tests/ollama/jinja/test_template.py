"""Rendering of chat templates: as Jinja renders them, in bounded time, and nothing else is reached."""

from __future__ import annotations

import datetime
import re
import time
from typing import Any

import pytest

from modelbuild.ollama.chat_templates import recognize
from modelbuild.ollama.jinja.template import LONGEST_TEMPLATE, Template
from modelbuild.ollama.jinja.values import Refused, Unsupported
from tests.ollama.chat_templates.gotemplate import DATE
from tests.ollama.chat_templates.templates import CHATML, KNOWN, UNKNOWN

DAY = datetime.date.fromisoformat(DATE)

MESSAGES = [
    {"role": "system", "content": "  Be brief.\n"},
    {"role": "user", "content": "One"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nTwo "},
    {"role": "user", "content": "Three, and {{ more }}"},
]

SAME = [
    "a{# b #}c{#- d -#} e",
    "a\n{# b #}\nc",
    "  {% if true %}  x\n  {% endif %}\n  y",
    "a {%- if true -%} b {%- endif -%} c",
    "a\n  {%+ if true %}\nb\n{% endif +%}\nc",
    "a\n\n",
    "a\n",
    "{{ 'a' }}\n{{ 'b' }}\n\n",
    "\r\na\r{{ 'b' }}\r\n",
    "{% for m in messages %}\n  {{ m.role }}\n{% endfor %}",
    "  {{ 'x' }}  \n",
    "{{ '}}' }}{{ \"%}\" }}",
    "{{ {'a': {'b': 1}}.a.b }}",
    r"{{ 'a\n\t\'\\\x41\u00e4' }}",
    r'{{ "\"" }}',
    "{{ 'a' 'b' }}",
    "{{ 1 + 2 * 3 - 4 // 3 }}{{ 7 % 3 }}{{ -1 }}{{ 1.5 + 1 }}{{ 6 / 3 }}",
    "{{ 'a' ~ 1 ~ none ~ true }}",
    "{{ true }}{{ False }}{{ None }}",
    "{{ (1, 2)[1] }}{{ [1, 2, 3][-1] }}{{ 'abc'[1:] }}{{ 'abc'[::-1] }}",
    "{{ missing }}{{ missing is defined }}{{ missing is none }}{{ none is none }}",
    "{{ messages[9] }}{{ messages[0].none }}",
    "{{ 'a' if false }}{{ 'a' if true else 'b' }}{{ 'a' if false else 'b' if true else 'c' }}",
    "{{ not true or 1 and 'x' }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' in 'abc' }}{{ 'x' not in ['x'] }}{{ 'role' in messages[0] }}{{ not 'x' in 'y' }}",
    "{{ ' a ' | trim | length }}{{ 'a,b'.split(',') | join('-') }}{{ 'ab' | upper | lower | title | capitalize }}",
    "{{ ' a ' + ' b ' | trim }}|{{ (' a ' + ' b ') | trim }}",
    "{{ messages | map(attribute='role') | join(', ') }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "{{ (messages | rejectattr('role', 'eq', 'user') | first).role }}",
    "{{ messages[1:] | length }}{{ messages[-1]['content'] }}{{ messages[:-1] | last | length }}",
    "{{ missing | default('x') }}{{ '' | d('y', true) }}",
    "{{ 3 is odd }}{{ 3 is not even }}{{ 'a' is string }}{{ 1 is number and messages is iterable }}",
    "{{ messages[0] is mapping }}{{ 3 is divisibleby 3 }}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{% set x %}a{{ 1 }}{% endset %}{{ x }}",
    "{% for i in [] %}a{% else %}b{% endfor %}",
    "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ loop.first }}{{ loop.last }}"
    "{{ loop.revindex0 }}{{ loop.length }}{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined }}{{ (loop.nextitem or {}).role }}{% endfor %}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% macro m(a, b='x') %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}",
    "{% if messages[0].content.strip().startswith('Be') %}yes{% endif %}{{ 'a-b'.replace('-', '+') }}{{ 'aXb' | replace('X', '') }}",
    "{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}",
    "{{ {'a': [1, 'ä<b>']} | tojson }}{{ [1] | tojson(indent=2) }}",
    "{{ messages[0].get('role') }}{{ messages[0].get('x', 'y') }}{{ messages[0].keys() | list | first }}",
    "{{ raise_exception('no') }}",
    "{{ tools is none }}{{ tools is defined }}{{ documents is none }}{{ add_generation_prompt }}",
    "{{ bos_token + eos_token }}",
    "{{ a.b.c }}",
    "{{ 'a' + 1 }}",
    "{{ [1] < 'a' }}",
    "{{ 'x' * 3 }}",
    "{{ messages[0]['content'] | trim | indent(2) }}",
    "{{ 'a' == 'a' == true }}",
    "{% for m in missing %}x{% endfor %}{{ missing | length }}",
    "{{ 'é' | upper }}{{ [3, 4] | first }}{{ 'abc' | last }}{{ 'abc' | list | join }}",
]


def outcome(
    render: Any, refusal: type[Exception], failure: type[Exception] | tuple[type[Exception], ...]
) -> tuple[str, str]:
    try:
        return "text", render()
    except refusal as error:
        return "refused", str(error)
    except failure:
        return "fails", ""


@pytest.mark.parametrize("text", [*SAME, *(jinja for _, jinja in KNOWN.values()), *UNKNOWN.values()])
def test_a_template_renders_as_jinja_renders_it(text: str) -> None:
    from tests.ollama.chat_templates.jinja import Refusal, render

    names = {"bos_token": "<s>", "eos_token": "</s>"}
    for messages in (MESSAGES, MESSAGES[1:2], MESSAGES[1:]):

        def ours(messages: list[dict[str, str]] = messages) -> str:
            return re.sub(
                "\ue000(.*?)\ue001", lambda date: DAY.strftime(date[1]), Template(text).render(messages, names)
            )

        expected = outcome(lambda messages=messages: render(text, messages), Refusal, Exception)
        assert outcome(ours, Refused, Unsupported) == expected


ENDLESS = {
    "loops in loops": "{% for a in range(1000) %}" * 6 + "{% endfor %}" * 6,
    "a long range": "{% for a in range(1000000000) %}{% endfor %}",
    "a long text": "{{ 'aaaaaaaa' * 1000000000 }}",
    "a text that doubles": "{% set x = namespace(v='a') %}{% for i in range(100) %}{% set x.v = x.v + x.v %}{% endfor %}",
    "a text that doubles, joined": "{% set x = namespace(v='a') %}{% for i in range(100) %}{% set x.v = x.v ~ x.v %}{% endfor %}",
    "a list that doubles": "{% set x = namespace(v=['a']) %}{% for i in range(100) %}{% set x.v = x.v + x.v %}{% endfor %}",
    "a list in lists": "{% set x = namespace(v=[]) %}{% for i in range(60) %}{% set x.v = [x.v, x.v] %}{% endfor %}"
    "{{ x.v == x.v }}{{ x.v | tojson }}",
    "a mapping in mappings": "{% set x = namespace(v={}) %}{% for i in range(60) %}{% set x.v = {1: x.v, 2: x.v} %}{% endfor %}"
    "{{ x.v | tojson }}",
    "replaced text": "{% set x = namespace(v='aa') %}{% for i in range(60) %}{% set x.v = x.v.replace('a', 'aaaa') %}{% endfor %}",
    "joined text": "{{ range(60000) | join('a' * 60000) }}",
    "a number": "{% set x = namespace(v=9) %}{% for i in range(100) %}{% set x.v = x.v * x.v %}{% endfor %}{{ x.v }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "a macro of itself": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "filters over lists": "{% for i in range(1000) %}{% for j in range(1000) %}"
    "{{ range(10000) | map('string') | list | length }}{% endfor %}{% endfor %}",
    "searches in lists": "{% set l = range(10000) %}{% for i in l %}{{ -1 in l }}{% endfor %}",
    "written text": "{% set x = 'a' * 60000 %}{% for i in range(10000) %}{{ x }}{% endfor %}",
    "brackets": "{{ " + "(" * 10000 + "1" + ")" * 10000 + " }}",
    "lists": "{{ " + "[" * 10000 + "]" * 10000 + " }}",
    "nots": "{{ " + "not " * 100000 + "1 }}",
    "signs": "{{ " + "-" * 100000 + "1 }}",
    "conditions": "{% if a %}" * 10000 + "{% endif %}" * 10000,
    "elses": "{{ " + "1 if 0 else " * 10000 + "1 }}",
    "members": "{{ a" + ".a" * 50000 + " }}",
    "a sum": "{{ 1" + " + 1" * 50000 + " }}",
    "openings": "{{" * 100000,
    "comments": "{#" * 100000,
    "quotes": "{{ '" + "\\" * 100000,
    "blanks": "{{ 'a' }}" + " \n" * 100000 + "{%- if a %}{% endif %}",
    "digits": "{{ " + "1_" * 100000 + " }}",
    "too long": CHATML + " " * LONGEST_TEMPLATE,
    "dates": "{% set x = strftime_now('%Y')[:1] * 30000 %}{{ x }}" + CHATML,
    "blanks between messages": CHATML.replace("'<|im_end|>' + '\n'", "' ' * 30000 + 'x'"),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_what_would_take_for_ever_is_no_family_soon(case: str) -> None:
    started = time.process_time()
    assert recognize(ENDLESS[case]) is None
    assert time.process_time() - started < 3


REACHES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ messages.__init__.__globals__ }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(a=1) }}",
    "{{ raise_exception.call }}",
    "{{ raise_exception.__globals__ }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '%s' % 1 }}",
    "{{ '' | attr('__class__') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'a' %}",
    "{{ self }}{{ self.__init__ }}",
    "{{ namespace.__init__ }}",
    "{{ loop.__class__ }}",
    "{% for a in [1] %}{{ loop.items }}{{ loop.get }}{{ loop.__dict__ }}{% endfor %}",
    "{{ messages | map('__class__') | list }}",
    "{{ messages | map(attribute='__class__') | join }}",
    "{% call m() %}{% endcall %}",
]


@pytest.mark.parametrize("text", REACHES)
def test_nothing_of_python_is_reached(text: str) -> None:
    try:
        rendered = Template(text).render(MESSAGES, {})
    except Unsupported:
        return
    assert rendered == ""


def test_messages_that_a_template_is_given_stay_as_they_are() -> None:
    before = [dict(message) for message in MESSAGES]
    Template("{% set messages = messages[1:] %}{{ messages | length }}").render(MESSAGES, {})
    assert before == MESSAGES


def test_a_template_cut_anywhere_is_read_or_refused() -> None:
    for _, jinja in KNOWN.values():
        for at in range(0, len(jinja), 7):
            recognize(jinja[:at])

"""Completion in bash, zsh and fish: the scripts that they load, and what is offered for the word under the cursor.

A script calls `modelbuild` with `COMPLETE` set to SHELL_complete and the words up to the cursor. It gets a line each:
KIND,VALUE and, behind a tab, a help. KIND is `plain`, `open` (no blank follows), or `file` or `dir` (VALUE is what stands
before the path in the same word).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from modelbuild.cli.invocation import COMPLETE
from modelbuild.cli.kinds import Ftype, sorted_q

_BASH = """\
_modelbuild_completion() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
            open) compopt -o nospace 2>/dev/null; COMPREPLY+=("${value%%$'\\t'*}") ;;
            plain) COMPREPLY+=("${value%%$'\\t'*}") ;;
        esac
    done < <(COMP_WORDBREAKS="$COMP_WORDBREAKS" _MODELBUILD_COMPLETE=bash_complete \\
        "$1" "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null)
}
complete -o nosort -F _modelbuild_completion modelbuild 2>/dev/null || complete -F _modelbuild_completion modelbuild
"""

_ZSH = """\
#compdef modelbuild
_modelbuild_completion() {
    local kind rest
    local -a plain plain_shown open
    while IFS=, read -r kind rest; do
        case $kind in
            plain) plain+=("${rest%%$'\\t'*}"); plain_shown+=("${rest/$'\\t'/  -- }") ;;
            open) open+=("${rest%%$'\\t'*}") ;;
            file) [[ -n $rest ]] && compset -P '*='; _files ;;
            dir) [[ -n $rest ]] && compset -P '*='; _files -/ ;;
        esac
    done < <(_MODELBUILD_COMPLETE=zsh_complete "${words[1]}" "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    if [[ "${(j..)plain_shown}" == *'  -- '* ]]; then
        compadd -U -V modelbuild -l -d plain_shown -a plain
    elif (( $#plain )); then
        compadd -U -V modelbuild -a plain
    fi
    (( $#open )) && compadd -U -V modelbuild -S '' -a open
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _modelbuild_completion "$@"
else
    compdef _modelbuild_completion modelbuild
fi
"""

_FISH = """\
function _modelbuild_completion
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (_MODELBUILD_COMPLETE=fish_complete $words "$current" 2>/dev/null)
        set -l parts (string split -m 1 , -- $line)
        set -l rest (string replace -- "$parts[2]" "" "$current")
        switch $parts[1]
            case file
                string replace -r '^' -- "$parts[2]" (__fish_complete_path "$rest")
            case dir
                string replace -r '^' -- "$parts[2]" (__fish_complete_directories "$rest" "")
            case '*'
                echo $parts[2]
        end
    end
end
complete --no-files --command modelbuild --arguments '(_modelbuild_completion)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def answer(root: click.Command, instruction: str, words: Sequence[str]) -> str | None:
    """What to print for an instruction of a shell: its script, or the completions of the last of `words`; None for another one."""
    shell, _, what = instruction.partition("_")
    if shell not in SCRIPTS or what not in ("source", "complete"):
        return None
    if what == "source":
        return SCRIPTS[shell]
    kept = 0
    if shell == "bash":
        line = words[0] if words else ""
        words, kept = _split(line), _kept_by_bash(line, os.environ.get("COMP_WORDBREAKS", ""))
    return "".join(f"{_line(item, kept)}\n" for item in offered(root, words))


def offered(root: click.Command, words: Sequence[str]) -> list[CompletionItem]:
    """The completions of the last of `words`, each with all that stands before it in the same word."""
    *before, last = words or [""]
    option, equals, value = last.partition("=") if re.match("--.*=", last) else ("", "", last)
    shell = ShellComplete(root, {}, "modelbuild", COMPLETE)
    items = shell.get_completions([*sorted_q(before), option] if equals else sorted_q(before), value)
    if before[-1:] == ["-q"] and sorted_q(before)[-1] == "--quiet":
        items = [*(CompletionItem(word) for word in Ftype.starting(value)), *items]
    for item in items:
        # Of a path the shell knows the rest: all that it must know is what stands before it.
        item.value = f"{option}{equals}" + ("" if item.type in ("file", "dir") else item.value)
    return items


def _line(item: CompletionItem, kept: int) -> str:
    kind = item.type if item.type != "plain" or item.value[-1:] not in ("=", ".") else "open"
    text = item.value if kind in ("file", "dir") else item.value[kept:]
    return f"{kind},{text}" + (f"\t{' '.join(item.help.split())}" if item.help else "")


def _split(line: str) -> list[str]:
    """The words of a command line up to the cursor, without the program; the last one may be empty."""
    words = split_arg_string(line)
    if not line or line[-1:].isspace() and not line.endswith("\\ "):
        words.append("")
    start = next((number for number, word in enumerate(words) if not re.match(r"\w+=", word)), 0)
    return words[start + 1 :]


def _kept_by_bash(line: str, breaks: str) -> int:
    """Characters of the last word that bash takes for words of their own, and completes nothing of."""
    raw = re.split(r"(?<!\\)\s", line)[-1]
    if raw[:1] in ("'", '"'):
        return 0
    return max((raw.rfind(mark) + 1 for mark in ":=" if mark in breaks), default=0)

"""Model cards: the YAML that README.md starts with."""

from __future__ import annotations

from pathlib import Path

from . import case, each, put, repeated

CARD = "weights/README.md"
MIB = 1 << 20


def card(folder: Path, *lines: str) -> None:
    put(folder, CARD, "\n".join(("---", *lines, "---", "# A model", "")))


def laughs(levels: int, join: str) -> list[str]:
    """Lists of lists: ten times as many with each level."""
    lines = [f"a0: &a0 [{', '.join(['ha'] * 10)}]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return [*lines, join.format(f"*a{levels - 1}")]


def merges(levels: int) -> list[str]:
    """Mappings that take another in twice, which takes another in twice."""
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} {{<<: [*a{level - 1}, *a{level - 1}]}}")
    return lines


TEXT = f"a: &a {'x' * MIB}"
each("card", {
    "laughs-in-tags": lambda folder: card(folder, *laughs(9, "tags: {}")),
    "laughs-in-license": lambda folder: card(folder, *laughs(9, "license: {}")),
    "merged-40-times-over": lambda folder: card(folder, *merges(40)),
    "merged-wide": lambda folder: card(
        folder, f"a: &a {{{', '.join(f'k{n}: 1' for n in range(1000))}}}", f"b: {{<<: [{', '.join(['*a'] * 5000)}]}}"
    ),
    "merged-into-itself": lambda folder: card(folder, "a: &a {<<: *a}"),
    "list-in-itself": lambda folder: card(folder, "tags: &a [*a]", "license: &b [*b]", "base_model: &c [*c]"),
    "sixties-without-end": lambda folder: card(folder, "a: 1" + ":1" * 200_000),
    "sixties-without-end-and-a-point": lambda folder: card(folder, "a: 1" + ":1" * 200_000 + ".5"),
    "hexadecimal-of-5000-digits": lambda folder: card(folder, f"name: 0x{'f' * 5000}"),
    "hexadecimal-of-a-million-digits": lambda folder: card(folder, f"license: [0x{'f' * 500_000}]"),
    "binary-of-20000-digits": lambda folder: card(folder, f"tags: [0b{'1' * 20_000}]"),
    "number-of-5000-digits": lambda folder: card(folder, f"name: {'9' * 5000}"),
    "code": lambda folder: card(folder, "name: !!python/object/apply:os.system ['true']"),
    "binary-that-is-none": lambda folder: card(folder, "name: !!binary '====' "),
    "pairs-and-sets": lambda folder: card(folder, "name: !!omap [1]", "tags: !!set [1]"),
    "date-that-is-none": lambda folder: card(folder, "name: 2024-99-99", "version: 2001-12-14t21:59:43.10-05:00"),
    "key-a-list": lambda folder: card(folder, "? [1, 2]", ": x"),
    "flow-5000-deep": lambda folder: card(folder, "a: " + "[" * 5000 + "]" * 5000),
    "tags-50000": lambda folder: card(folder, "tags:", *(f"- t{number}" for number in range(50_000))),
    "key-of-a-megabyte": lambda folder: card(folder, f"? {'k' * MIB}", ": 1"),
    "never-closed": lambda folder: put(folder, CARD, "---\nname: x\n" + "a\n" * 1000),
    "half-characters": lambda folder: card(folder, 'name: "\\ud800"', 'tags: ["\\udfff"]'),
    "base-models-100000": lambda folder: card(
        folder, "a: &a {name: x, description: y}", f"base_model: [{', '.join(['*a'] * 100_000)}]"
    ),
})  # fmt: skip


@case
def card_tags_a_megabyte_3000_times(folder: Path) -> None:
    card(folder, TEXT, f"tags: [{', '.join(['*a'] * 3000)}]")


@case
def card_license_a_megabyte_3000_times_over(folder: Path) -> None:
    card(folder, TEXT, f"license: [{', '.join(['*a'] * 3000)}]")


@case
def card_descriptions_a_megabyte_3000_times(folder: Path) -> None:
    card(folder, f"a: &a {{description: {'x' * MIB}}}", f"datasets: [{', '.join(['*a'] * 3000)}]")


@case(heavy=True)
def card_of_190_mib_of_line_ends(folder: Path) -> None:
    put(folder, CARD, [b"---\n", *repeated(b"\n", 190 * MIB)])


@case(heavy=True)
def card_of_190_mib_of_text(folder: Path) -> None:
    put(folder, CARD, ["---\nname: x\n---\n🦙".encode(), *repeated(b"x", 190 * MIB)])


@case(heavy=True)
def card_of_a_million_nodes(folder: Path) -> None:
    put(folder, CARD, [b"---\nx:\n", *repeated(b"- a\n", 1_000_000), b"---\n"])


@case(heavy=True)
def card_of_a_text_of_50_mib(folder: Path) -> None:
    put(folder, CARD, [b"---\nname: ", *repeated(b"x", 50 * MIB), b"\n---\n"])


@case(heavy=True)
def card_that_is_half_a_million_numbers(folder: Path) -> None:
    put(folder, CARD, [b"---\nx: [", *repeated(b"1,", 500_000), b"1]\n---\n"])

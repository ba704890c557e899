"""Numbers of templates against Go's own rules (strconv's and text/template's tests have most of these)."""

from __future__ import annotations

import pytest

from modelbuild.ollama.go_number import is_number
from modelbuild.ollama.template import find_fault

RIGHT = [
    "0", "-0", "+0", "1", "73", "7_3", "073", "0_7", "0o73", "0O73", "0x73", "0X_1F", "0x1_f", "0b101", "0b_101",
    "-0x80", "1.0", "+1.5", ".5",
    "1.", "1e3", "1e1_0", "-12e+2", "1_23.50_0_0e+1_2", "0x1p4", "0x1.fp-3", "0x_1p4", "1i", "1.2i", "4i",
    "0i", "1+2i", "1e1+2.5e-1i", "1+0x1p4i", "-1.2-3i",
    "18446744073709551615", "9223372036854775807", "-9223372036854775808", "1e308", "1e-400", "08.5", "0_8.5", "0x1E", "0777", "08i",
]  # fmt: skip
WRONG = [
    "1__0", "1_", "0_", "0x_", "0x__1", "1_.5", "1._5", "1e_5", "1e5_", "0b12", "0b2", "0b", "0o8", "0o", "0x", "08", "09", "1e", "1e+",
    "18446744073709551616", "-9223372036854775809", "+9223372036854775808", "1e309",
    "-1e999", "0x1.5", "0x1p", "0b1.1", "0o7.7", "0x1i", "1i+2i",
    "0b1+2i", "1+0x1i", "1+2", "1_0_", "0xg", "99999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_what_go_takes_passes(text: str) -> None:
    assert is_number(text)
    assert find_fault(f"{{{{ {text} }}}}") is None


@pytest.mark.parametrize("text", WRONG)
def test_what_go_refuses_is_a_fault_of_its_template(text: str) -> None:
    assert not is_number(text)
    fault = find_fault(f"{{{{ {text} }}}}")
    assert fault is not None
    assert fault.offset >= 3


def test_a_malformed_number_is_named() -> None:
    fault = find_fault("{{ if gt .A 1__0 }}{{ end }}")
    assert fault is not None
    assert (fault.offset, fault.what, fault.width) == (12, "malformed number '1__0'", 4)


def test_a_very_long_number_is_refused_quickly() -> None:
    assert not is_number("9" * 100_000)
    assert not is_number("0x" + "f" * 100_000)

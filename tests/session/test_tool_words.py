"""Messages of programs that failed: the line that says why, and what to do."""

from __future__ import annotations

from modelbuild.session import tool_words


def test_messages_of_failures() -> None:
    said = 'INFO: much\nTraceback (most recent call last):\n  File "x", line 1\n    import torch\n'
    said += "ModuleNotFoundError: No module named 'torch'\n"
    error = tool_words.failed("the tool", 1, said, "/log")
    assert error.what == "the tool failed: ModuleNotFoundError: No module named 'torch'"
    assert dict(error.facts) == {"exit code": "1", "last lines": "INFO: much", "log": "/log"}
    assert error.hint and "[tools]" in error.hint
    killed = tool_words.failed("the tool", 137, "", "/log")
    assert killed.what == "the tool failed" and dict(killed.facts)["killed by signal"] == "9" and killed.hint
    assert tool_words.failed("t", 1, "error: bad\nbye\n", "l").what == "t failed: error: bad"
    unknown = "NotImplementedError: BPE pre-tokenizer was not recognized - update get_vocab_base_pre()\n"
    assert "names nothing to it" in str(tool_words.failed("t", 1, unknown, "l").hint)

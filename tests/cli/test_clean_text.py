"""Text of the API does not control the terminal."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegap_async.cli.clean_text import cleaned, one_line, safe_json

# Characters of escape sequences, so that random texts have many.
ODD = st.text(
    st.sampled_from("\x1b[]()PX^_\\0;31mHJK?\x07\x9b\x9d\x9c\r\n\t\x00\u202eab")
)


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hfake", "fake"),
        ("\x1b]0;title\x07shell", "shell"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("\x9d0;title\x9cx", "x"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x1b(0lines", "lines"),
        ("\x1bcreset", "reset"),
        ("bell\x07 back\x08space\x7f\x00", "bell backspace"),
        ("\u202etxt.exe\u2066", "txt.exe"),
        ("10 %\r20 %\r\nend", "10 %\n20 %\nend"),
        ("Zürich 日本 😀\ttab", "Zürich 日本 😀\ttab"),
    ],
)
def test_what_controls_a_terminal_is_removed(given_text: str, shown: str) -> None:
    assert cleaned(given_text) == shown


def test_a_sequence_that_never_ends_hides_its_own_line_only() -> None:
    assert cleaned("\x1b]0;title\nsecond\x1b[") == "\nsecond"


@given(ODD | st.text())
def test_no_control_character_is_left(text: str) -> None:
    left = cleaned(text)
    assert cleaned(left) == left
    assert not [
        it for it in left if unicodedata.category(it) == "Cc" and it not in "\n\t"
    ]
    assert "\n" not in one_line(text)


@given(ODD | st.text())
def test_json_keeps_its_value(text: str) -> None:
    line = safe_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(line) == text
    assert not [it for it in line if unicodedata.category(it) == "Cc"]

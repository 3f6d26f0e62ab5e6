"""Makes text of the API safe to print: names, tags and logs may hold characters that
control a terminal.
"""

import re
from collections.abc import Mapping

# Sequences that begin with ESC, or with its equivalents of one character: colours and
# cursor movements; titles and links, which end with BEL or ST, at the latest with the
# line; all others.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\n\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Marks that change the direction of the text around them.
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = (*range(0x20), 0x7F, *range(0x80, 0xA0))
_REMOVED: Mapping[int, None] = dict.fromkeys(
    {*_CONTROLS, *_DIRECTIONS} - {ord("\n"), ord("\t")}
)
# What JSON allows in a string, and a terminal obeys.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f" + "".join(map(chr, _DIRECTIONS)) + "]")


def cleaned(text: str) -> str:
    """Remove what controls a terminal. Line ends and tabs stay."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SEQUENCES.sub("", lines).translate(_REMOVED)


def one_line(text: str) -> str:
    """Remove what controls a terminal, and join all lines."""
    return " ".join(cleaned(text).split())


def safe_json(line: str) -> str:
    """Escape what controls a terminal in JSON. Its value stays the same."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", line)

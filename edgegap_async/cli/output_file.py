"""A file that a command writes at its end."""

import os
from pathlib import Path


def output_file(text: str) -> Path:
    """Return the path of a file to write at the end. Whether that is possible is checked
    at once, as a command may take long.

    Raises:
        ValueError: it is not.
    """
    path = Path(text)
    if path.is_dir():
        raise ValueError(f"{text} is a directory")
    if not path.parent.is_dir():
        raise ValueError(f"there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{text} can't be written")
    return path

"""The files of a load test: its report as JSON and as a page."""

import os
from pathlib import Path

import click

from ..load import Report
from ..load.page import page_of
from .output import Output


def output_file(text: str) -> Path:
    """Return the path of a file to write at the end. Whether that is possible is checked
    at once, as a test may take long.

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


def write_reports(
    report: Report, json: Path | None, page: Path | None, output: Output
) -> bool:
    """Write the files that are asked for. Returns whether all were written."""
    written = True
    for path, text_of in ((json, Report.to_json), (page, page_of)):
        if path is None:
            continue
        try:
            path.write_text(text_of(report) + "\n", encoding="utf-8")
        except OSError as error:
            output.problem(f"Error: {path} was not written: {error.strerror or error}")
            written = False
        else:
            output.say(f"written: {path}")
    return written


def read_report(path: Path) -> Report:
    """Read a report.

    Raises:
        click.UsageError: it can't be read, or is none.
    """
    try:
        return Report.from_json(path.read_bytes())
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise click.UsageError(f"{path}: {error}") from error

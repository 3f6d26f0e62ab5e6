"""The files of a load test: its report as JSON and as a page."""

from pathlib import Path

import click

from ..load import Report
from ..load.page import page_of
from .output import Output


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

"""`load compare`: what differs between two load tests."""

from collections.abc import Sequence
from pathlib import Path

import click

from ..load import Difference, compare
from .common import output_options
from .load_files import read_report
from .output import Output
from .table import Column

VERDICTS = {"chance": "within chance", "same": ""}


def _value(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f} {unit}"


def _change(row: Difference) -> str:
    if row.before is None or row.after is None:
        return ""
    return f"{row.after - row.before:+.2f} {row.unit}"


COLUMNS: Sequence[Column[Difference]] = (
    Column("figure", lambda row: row.name),
    Column("before", lambda row: _value(row.before, row.unit), right=True),
    Column("after", lambda row: _value(row.after, row.unit), right=True),
    Column("change", _change, right=True),
    Column("", lambda row: VERDICTS.get(row.verdict, row.verdict)),
)
FILE = click.Path(path_type=Path)


@click.command("compare", short_help="Compare the reports of two load tests.")
@click.argument("before", metavar="A.json", type=FILE)
@click.argument("after", metavar="B.json", type=FILE)
@output_options
def compare_command(output: Output, before: Path, after: Path) -> None:
    """Compare two reports that `load --output` has written, the earlier one first.

    Differences that may be chance are marked: percentiles whose confidence intervals
    overlap, and shares less than two standard deviations apart.

    \b
    Examples:
      edgegap load compare before.json after.json

    Exit code: 0, done; 2, wrong use, or a file is no report.
    """
    rows = compare(read_report(before), read_report(after))
    output.rows(COLUMNS, rows, "there is nothing to compare")

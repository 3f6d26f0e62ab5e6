"""Tables fit the terminal."""

from collections.abc import Sequence

import pytest
from rich.cells import cell_len

from edgegap_async.cli.ages import age_text, parse_age
from edgegap_async.cli.table import Column, table_lines

Row = tuple[str, str, str]
COLUMNS: Sequence[Column[Row]] = (
    Column("ID", lambda row: row[0]),
    Column("AGE", lambda row: row[1], right=True),
    Column("TAGS", lambda row: row[2], shrinks=True, color=lambda _: "red"),
)


def test_titles_stand_above_their_columns() -> None:
    lines = table_lines(COLUMNS, [("a", "1h", "x"), ("bcd", "15m", "")])
    assert list(lines) == ["ID   AGE  TAGS", "a     1h  x", "bcd  15m  -"]


@pytest.mark.parametrize("width", [30, 80, 200])
@pytest.mark.parametrize("character", ["x", "日", "é", "😀"])
def test_a_line_is_cut_to_the_width(width: int, character: str) -> None:
    rows = [("c065a3f1b2e4", "2h", character * 300), ("b", "", "short")]
    _, first, second = table_lines(COLUMNS, rows, width=width)
    assert width - 1 <= cell_len(first) <= width
    assert first.endswith("…")
    assert "c065a3f1b2e4" in first
    assert second.endswith("short")


def test_columns_that_should_not_shrink_do_so_before_a_line_breaks() -> None:
    wide: Sequence[Column[Row]] = (
        Column("ID", lambda row: row[0]),
        Column("FOUND", lambda row: row[1]),
        Column("NOTE", lambda row: row[2], shrinks=True),
    )
    rows = [("c065a3f1b2e4", "f" * 90, "n" * 90)]
    titles, line = table_lines(wide, rows, width=80)
    assert max(cell_len(titles), cell_len(line)) <= 80
    assert line.startswith("c065a3f1b2e4  fff")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "c065a3f1b2e4.pr.edgegap.net:30002,30003"),
        (30, "c065a3f1b2e4.pr.e…:30002,30003"),
        (18, "c065a…:30002,30003"),
        # The host would be too short to tell anything.
        (12, "c065a3f1b2e…"),
    ],
)
def test_the_ports_of_an_address_are_kept(width: int, shown: str) -> None:
    address: Column[Row] = Column("A", lambda row: row[2], shrinks=True, keeps=":")
    row = ("", "", "c065a3f1b2e4.pr.edgegap.net:30002,30003")
    assert list(table_lines([address], [row], width=width))[1] == shown


def test_a_text_that_wraps_is_shown_as_a_whole() -> None:
    columns: Sequence[Column[Row]] = (
        *COLUMNS[:2],
        Column("CALLS", lambda row: row[2], shrinks=True, wraps=True),
    )
    words = [f"call.{number}" for number in range(20)]
    lines = list(table_lines(columns, [("a", "1h", ", ".join(words))], width=40))
    assert max(map(cell_len, lines)) <= 40
    assert " ".join(lines[1:]).split() == ["a", "1h", *", ".join(words).split()]
    # They stand below each other.
    assert {line.index("call") for line in lines[1:]} == {lines[0].index("CALLS")}


def test_without_a_width_nothing_is_cut() -> None:
    _, line = table_lines(COLUMNS, [("a", "", "x" * 500)])
    assert line.endswith("x" * 500)


def test_wide_characters_keep_the_columns_aligned() -> None:
    lines = list(table_lines(COLUMNS, [("日本", "1h", "t"), ("abcd", "2h", "t")]))
    assert {cell_len(line.rpartition("t")[0]) for line in lines[1:]} == {11}


def test_cells_hold_no_line_ends_and_no_escape_codes() -> None:
    lines = list(table_lines(COLUMNS, [("a\nb", "\x1b[2J", "\x1b[31mx\r\ny")]))
    assert lines[1] == "a b    -  x y"


def test_colors_change_no_widths() -> None:
    rows = [("a", "1h", "x" * 99)]
    plain = list(table_lines(COLUMNS, rows, width=40))
    colored = list(table_lines(COLUMNS, rows, width=40, color=True))
    assert "\x1b[31m" in colored[1]
    assert colored[1].replace("\x1b[31m", "").replace("\x1b[0m", "") == plain[1]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h", 3600),
        ("2d", 172_800),
        ("1h30m", 5400),
        ("0.5H", 1800),
    ],
)
def test_an_age_has_units(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "1 h", "h", "-1h", "1w", "1h2", "nan", "\u0661h"]
)
def test_another_form_of_an_age_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 90s, 15m, 1h or 2d"):
        parse_age(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (200_000, "2d"),
        (None, ""),
    ],
)
def test_an_age_is_shown_in_one_unit(seconds: float | None, text: str) -> None:
    assert age_text(seconds) == text

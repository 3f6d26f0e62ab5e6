"""A group whose help lists its commands in sections."""

from typing import Any

import click

from .one_line_errors import OneLineErrors

# Cells for the names of commands and the gaps around them.
NAMES = 20
OTHERS = "Other commands"


class SectionedGroup(OneLineErrors):
    """A group of commands in sections. Those in no section are listed at the end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections: dict[str, list[click.Command]] = {}

    def add_section(self, title: str, *commands: click.Command) -> None:
        """Add commands under a title."""
        self._sections[title] = list(commands)
        for command in commands:
            self.add_command(command)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the sections."""
        known = {id(it) for section in self._sections.values() for it in section}
        others = [it for it in self.commands.values() if id(it) not in known]
        for title, commands in (*self._sections.items(), (OTHERS, others)):
            shown = [it for it in commands if not it.hidden]
            if shown:
                room = formatter.width - NAMES
                rows = [(it.name or "", it.get_short_help_str(room)) for it in shown]
                with formatter.section(title):
                    formatter.write_dl(rows)

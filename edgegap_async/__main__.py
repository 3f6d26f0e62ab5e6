"""`edgegap`, or `python -m edgegap_async`: the program, or how to install what it needs."""

import sys
from pathlib import Path

EXTRA = ("click", "rich")


# As after Ctrl-C in a command (cli/options.py), which is not imported yet.
INTERRUPTED = 130


def main() -> None:
    """Run the program. After Ctrl-C before a command has begun, exit with 130."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


def _run() -> None:
    """Run the program; without the extra `cli`, say how to install it, and exit with 1."""
    try:
        from .cli.program import program
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        sys.exit(
            f'{error.name} is not installed, which this program needs: pip install "edgegap-async[cli]"'
        )
    is_module = Path(sys.argv[0]).name == "__main__.py"
    program(prog_name="python -m edgegap_async" if is_module else "edgegap")


if __name__ == "__main__":
    main()

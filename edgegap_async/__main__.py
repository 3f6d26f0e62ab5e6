"""`python -m edgegap_async`: the program, or how to install what it needs."""

import sys

EXTRA = ("click", "rich")


def main() -> None:
    """Run the program; without the extra `cli`, say how to install it, and exit with 1."""
    try:
        from .cli.program import program
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        sys.exit(
            f'{error.name} is not installed, which this program needs: pip install "edgegap-async[cli]"'
        )
    program(prog_name="python -m edgegap_async")


if __name__ == "__main__":
    main()

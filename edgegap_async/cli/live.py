"""A display on a terminal that is drawn again and again."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial

from rich.console import Console
from rich.live import Live

from .streams import messages_by


@contextmanager
def live_display(console: Console) -> Generator[Live, None, None]:
    """Yield a display that is drawn at each `refresh`, and removed at the end. Messages for
    the user are printed above it.
    """
    # The automatic refresh of rich would run in a thread. Standard output may be a
    # file, so rich must not redirect it.
    live = Live(
        console=console,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
    write = partial(console.print, soft_wrap=True, markup=False, highlight=False)
    live.start()
    try:
        with messages_by(write):
            yield live
    finally:
        # The terminal may be gone.
        with suppress(OSError):
            live.stop()

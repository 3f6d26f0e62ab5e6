"""Texts about a load test. This module does no I/O."""

# No line of a page ends between a number and its unit.
GAP = "\N{NO-BREAK SPACE}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 server, 2 servers."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def limit_sentence(allowed: float | None, busiest: int, refused: int) -> str:
    """Say whether the deploy limit was kept.

    Args:
        allowed: deploys per second; None: any number.
        busiest: how many were sent within one second, at most.
        refused: how many got a 429.
    """
    if allowed is None:
        kept, most = "no limit", ""
    else:
        kept = f"limit {'kept' if busiest <= allowed else 'exceeded'}"
        most = f" ({allowed:g} allowed)"
    deploys = counted(busiest, "deploy")
    return f"{kept}: {deploys} in the busiest second{most}, {refused} refused"


def clock_text(seconds: float) -> str:
    """A time since the beginning of a test: 1:05, or 1:00:05 after an hour."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def seconds_text(seconds: float) -> str:
    """A duration: 45 ms, 4.81 s or 124 s."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f}{GAP}ms"
    return f"{seconds:.2f}{GAP}s" if seconds < 100 else f"{seconds:.0f}{GAP}s"

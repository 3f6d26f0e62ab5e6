"""What is new in a text that grows at its end and may lose its beginning."""

# Lines that must agree, at first.
LINES = 32


def new_text(before: str, now: str) -> str:
    """Return what has been added.

    If the beginning was dropped meanwhile, the last lines of `before` are searched for.
    If none is left, everything is new.
    """
    if now.startswith(before):
        return now[len(before) :]
    lines = before.splitlines(keepends=True)
    count = min(LINES, len(lines))
    while count:
        known = "".join(lines[-count:])
        # At the beginning of a line.
        at = 0 if now.startswith(known) else now.rfind(f"\n{known}") + 1
        if at or now.startswith(known):
            return now[at + len(known) :]
        count //= 2
    return now

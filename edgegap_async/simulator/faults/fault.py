"""`Fault`: a fault to inject, as a test or a command line writes it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Self

from ...models._check import closest
from .kinds import CALLS, KINDS, TARGETS, WEBHOOK, Stage

# The short names of operations. If several operations share a name, it means the first
# of them in `endpoints.py`.
_SHORT_NAMES = {call.rpartition(".")[2]: call for call in reversed(CALLS)}


def known_operation(operation: str) -> str:
    """Return the name of an operation, which may be given by its short one.

    Raises:
        ValueError: There is no such operation.
    """
    name = _SHORT_NAMES.get(operation, operation)
    if name not in TARGETS:
        meant = closest(name, TARGETS) or closest(name, _SHORT_NAMES)
        raise ValueError(f"operation: there is no {name!r}{_hint(meant, TARGETS)}")
    return name


def check_kind(kind: str) -> None:
    """Check the name of a kind of fault.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in KINDS:
        meant = closest(kind, KINDS)
        raise ValueError(f"kind: there is no {kind!r}{_hint(meant, KINDS)}")


def _hint(meant: str | None, known: Iterable[str]) -> str:
    return f": did you mean {meant}?" if meant else f"; there are: {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in an operation, for a share of its requests or for the next few.

        Fault("deploy", "cut-after", 0.05)
        Fault("deploy", "late", 0.02, seconds=20)
        Fault("list", "filters-empty", fields=("tags",))
        Fault("status", "502-before", times=3)
        Fault("webhook", "lost", 0.1)
        Fault.parse("deploy:cut-after:0.05")
        Fault.parse("deploy:late:0.02:20")
        Fault.parse("list:filters-empty:1:tags")
        Fault.script("deploy", "cut-after", "ok", "late:20")
        Fault.script("webhook", "ok", "reordered:5", "duplicated")

    The kinds (`simulate --faults` describes each of them):

        no response      cut-before, cut-after, hang-before, hang-after,
                         processed-late (takes seconds), dead-connection,
                         idle-connection (takes seconds)
        wrong status     401, 408, 403, 500, 502, 502-escapes, 503, 504 and redirect,
                         each with -before and -after; 422, 422-after (only deploys); 429,
                         429-seconds, 429-date, 429-after (the last three take
                         seconds); 404-text, 404-html, 404-empty, 404-json, 404-after
                         (as from a gateway); not-found (as from the API)
        sent twice       twice-first, twice-second, twice-502, twice-hang,
                         twice-late-502, twice-late-hang (only deploys; all take
                         seconds)
        broken response  late, answered-twice (both take seconds), truncated, stalled, endless,
                         gzip-bomb, not-json, invalid-utf8, empty, no-id,
                         page-before
        odd response     odd-values, slow-numbers, nested-values, null, text; odd-rows,
                         next-missing, next-text, next-false, total-of-page (only
                         lists); other-id (only statuses)
        wrong list       times-local, lag (takes seconds), filters-ignored,
                         filters-refused,
                         filters-empty, filters-all-of (these four may take fields),
                         order-oldest-first, order-shuffled, first-page,
                         total-missing, total-of-all, rows-without-address
        wrong tags       tags-missing, tags-null, tags-text, tags-objects,
                         tags-keyed, tags-nested, tags-mixed (lists and statuses);
                         tags-empty, tags-first, tags-upper, tags-spaces, tags-cut
                         (only lists)
        webhooks         lost, duplicated, late, reordered (the last two take seconds)
        none             ok

    With `-before`, the operation is not carried out. With `-after`, it is. Shares add
    up: two faults with a share of 0.05 affect one request in ten, each of them half of
    these. Faults at different stages are independent: a list can lag, have wrong
    filters, a wrong order and wrong tags, and fail, all at once. An operation that is
    due later, and is still pending when the simulator ends, is never carried out. A
    request that a proxy sends twice counts once.

    Args:
        operation: The SDK method, such as "private_fleets.deploy". Or only its last
            word, which means the first operation of that name: "deploy" is
            "deployments.deploy". Or "webhook", for the webhooks that the simulator
            sends.
        kind: The kind of fault.
        share: The share of requests with this fault, from 0 to 1.
        seconds: The seconds for kinds that take them.
        fields: The filter fields for kinds that take them. Empty means all fields. The
            fault does not affect lists that filter by none of these fields.
        times: The fault ends after it has occurred this many times. None means never.

    Raises:
        ValueError: An argument is wrong; the message names it.
    """

    operation: str
    kind: str
    share: float = 1.0
    seconds: float | None = None
    fields: Sequence[str] = ()
    times: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "operation", known_operation(self.operation))
        check_kind(self.kind)
        self._check_operation()
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, not {self.share!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(
                f"times must be at least 1, or None for no end, not {self.times!r}"
            )
        self._check_details()
        object.__setattr__(self, "fields", tuple(self.fields))

    def _check_operation(self) -> None:
        possible = KINDS[self.kind].operations
        if self.operation not in possible:
            names = ", ".join(each for each in TARGETS if each in possible)
            raise ValueError(
                f"operation: {self.kind} can't hit {self.operation}, only {names}"
            )

    def _check_details(self) -> None:
        detail = KINDS[self.kind].detail
        if detail != "seconds" and self.seconds is not None:
            raise ValueError(f"seconds: {self.kind} takes none")
        if detail == "seconds" and (
            self.seconds is None or not 0 <= self.seconds < inf
        ):
            raise ValueError(
                f"seconds: {self.kind} takes a number of seconds, not {self.seconds!r}"
            )
        if detail != "fields" and self.fields:
            raise ValueError(f"fields: {self.kind} takes none")
        if isinstance(self.fields, str) or not all(self.fields):
            raise ValueError(f"fields must be names, not {self.fields!r}")

    @property
    def stage(self) -> Stage:
        """The stage of a request at which the fault applies."""
        return "webhook" if self.operation == WEBHOOK else KINDS[self.kind].stage

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the form of the command line: `operation:kind[:share[:seconds]]`.

        Kinds that take fields have them instead of the seconds: `a,b`.

        Raises:
            ValueError: The text is wrong; the message names the problem.
        """
        parts = text.split(":")
        if not 2 <= len(parts) <= 4:
            raise ValueError(
                f"fault {text!r} must be operation:kind, operation:kind:share or "
                "operation:kind:share:detail"
            )
        operation, kind, share, detail = (*parts, "", "")[:4]
        try:
            if kind in KINDS and KINDS[kind].detail == "fields":
                fields = tuple(detail.split(",")) if detail else ()
                return cls(operation, kind, float(share or 1), fields=fields)
            seconds = float(detail) if detail else None
            return cls(operation, kind, float(share or 1), seconds)
        except ValueError as error:
            raise ValueError(f"fault {text!r}: {error}") from None

    @classmethod
    def script(cls, operation: str, *steps: str) -> tuple[Self, ...]:
        """Make one fault for each of the next requests of an operation.

        Each step is a `kind`, or `kind:detail`.

        Raises:
            ValueError: A step is wrong. Or the steps apply at different stages: then
                they would not occur one after the other.
        """
        pairs = (step.partition(":") for step in steps)
        faults = tuple(
            replace(cls.parse(f"{operation}:{kind}:1:{detail}"), times=1)
            for kind, _, detail in pairs
        )
        if len({fault.stage for fault in faults}) > 1:
            raise ValueError(
                f"script: {', '.join(steps)} apply at different stages of a request; "
                "write one script for each stage"
            )
        return faults

"""What can go wrong, by name: the kinds of fault that there are, and the value that
asks for one.

Pure, and without what a kind does: that stands in `breakage.py` for what strikes a
connection or an answer, and with the lists (`listing.py`) for what strikes those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from types import NoneType
from typing import Literal, Self, TypeAlias

from ... import endpoints as rows

Stage: TypeAlias = Literal["connection", "answer", "lag", "filters", "webhook"]
Detail: TypeAlias = Literal["seconds", "fields"]

CALLS = tuple(dict.fromkeys(row.call for row in rows.OPERATIONS))
# what the simulator sends by itself: no operation of the API, but it goes wrong like
# one
WEBHOOK = "webhook"
_TARGETS = (*CALLS, WEBHOOK)
# The last word of a name is enough; what several operations are called in short means
# the first of them in the table.
_SHORT = {call.rpartition(".")[2]: call for call in reversed(CALLS)}
_ANY, _WEBHOOKS = frozenset(_TARGETS), frozenset({WEBHOOK})
_LISTS = frozenset({rows.LIST.call})
_DEPLOYS = frozenset(row.call for row in rows.OPERATIONS if row.starts_server)
_WITH_BODY = frozenset(
    row.call for row in rows.OPERATIONS if row.returns is not NoneType
)
_WITH_ID = _DEPLOYS | {
    row.call
    for row in (rows.STATUS, rows.STOP, rows.SELF_STOP, rows.BULK_STOP, rows.LIST)
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to go wrong: what it is, where in a request it strikes, what it has to be
    told, and which operations it can strike. At most one fault of each stage strikes a
    request; what strikes a webhook has that for its stage.
    """

    about: str
    stage: Stage = "answer"
    detail: Detail | None = None
    strikes: frozenset[str] = frozenset(CALLS)


def _either_side(name: str, about: str) -> dict[str, Kind]:
    """A kind that leaves the deed undone, and one that comes once it is done: the
    client can't tell which it was.
    """
    return {
        f"{name}-before": Kind(
            f"{about}; the request counted, but its deed is not done"
        ),
        f"{name}-after": Kind(f"{about}; the deed is done"),
    }


KINDS: Mapping[str, Kind] = {
    "ok": Kind("nothing goes wrong: a step of a script", strikes=_ANY),
    **_either_side("cut", "the connection is closed in place of an answer"),
    **_either_side("never", "no answer comes, and the connection stays open"),
    **_either_side("redirect", "307 to the same place"),
    **_either_side("403", "403 and HTML, as a firewall on the way writes it"),
    **_either_side("408", "408 and HTML"),
    **_either_side("500", "500 in the API's form"),
    **_either_side("502", "502 and HTML"),
    **_either_side("503", "503 and HTML"),
    **_either_side("504", "504 and HTML"),
    "429": Kind(
        "429 without Retry-After, though the limit is kept; the deed is not done"
    ),
    "429-seconds": Kind(
        "429 with so many SECONDS in Retry-After; the deed is not done",
        detail="seconds",
    ),
    "429-date": Kind(
        "429 with the date in Retry-After that is SECONDS away; the deed is not done",
        detail="seconds",
    ),
    "late": Kind(
        "the deed is done, its answer comes SECONDS later; or a webhook does",
        "answer",
        "seconds",
        _ANY,
    ),
    "deed-late": Kind(
        "the connection is closed, the deed is done SECONDS later all the same",
        detail="seconds",
    ),
    "truncated": Kind(
        "half the answer's body, then the connection is closed", strikes=_WITH_BODY
    ),
    "stuck": Kind("half the answer's body, and never the rest", strikes=_WITH_BODY),
    "not-json": Kind("the answer's status with an HTML page", strikes=_WITH_BODY),
    "invalid-utf8": Kind(
        "the answer with bytes in its strings that are not UTF-8", strikes=_WITH_BODY
    ),
    "empty": Kind("the answer's status without a body", strikes=_WITH_BODY),
    "no-id": Kind("the answer without any request_id", strikes=_WITH_ID),
    "422": Kind(
        "no server can be allocated: 422 that names a deployment in error",
        strikes=_DEPLOYS,
    ),
    "dead-connection": Kind(
        "a connection that was used before is reset; what came on it is not read",
        "connection",
    ),
    "lag": Kind("the list is as it was SECONDS ago", "lag", "seconds", _LISTS),
    "filters-ignored": Kind(
        "filters on FIELDS let all through", "filters", "fields", _LISTS
    ),
    "filters-refused": Kind(
        "filters on FIELDS are answered 400", "filters", "fields", _LISTS
    ),
    "filters-empty": Kind(
        "filters on FIELDS let nothing through", "filters", "fields", _LISTS
    ),
    "lost": Kind("a webhook is never sent", "webhook", strikes=_WEBHOOKS),
    "doubled": Kind(
        "a webhook is sent a second time once the first is answered",
        "webhook",
        strikes=_WEBHOOKS,
    ),
    "swapped": Kind(
        "a webhook goes out after the next one, at most SECONDS later",
        "webhook",
        "seconds",
        _WEBHOOKS,
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with an operation, for a share of its requests or for
    the next few.

        Fault("deploy", "cut-after", 0.05)
        Fault.parse("deploy:cut-after:0.05")
        Fault("deploy", "late", 0.02, seconds=20)
        Fault.parse("deploy:late:0.02:20") Fault("list", "filters-empty",
        fields=("tags",))  Fault.parse("list:filters-empty:1:tags")
        Fault("status", "502-before", times=3)          Fault.script("deploy",
        "cut-after", "ok", "late:20")
        Fault("webhook", "lost", 0.1)                   Fault.script("webhook", "ok",
        "swapped:5", "doubled")

    Kinds, of which each says more in `KINDS`:

        no answer      cut-before, cut-after, never-before, never-after, deed-late
        (takes seconds), dead-connection
        another one    408, 403, 500, 502, 503, 504 and redirect, each with -before and
                       -after; 422 (of a deploy); 429, 429-seconds, 429-date (the last
                       two take seconds)
        a bad one      late (takes seconds), truncated, stuck, not-json, invalid-utf8,
        empty, no-id
        a bad list     lag (takes seconds), filters-ignored, filters-refused,
        filters-empty (may take fields)
        a webhook      lost, doubled, late, swapped (the last two take seconds)
        none           ok

    `-before` and `-after` tell whether the deed is done. Shares add up: of two faults
    with 0.05 each, one request in ten is struck, by one of them. A list may lag,
    misread its filters and fail, all at once. What `deed-late` has not done when the
    simulator ends is never done.

    Args:
        operation: the method that serves it, "private_fleets.deploy"; or its last word,
            which means the first operation of that name: "deploy" is
            "deployments.deploy". Or "webhook", for what the simulator sends.
        kind: what happens.
        share: of the requests, from 0 to 1.
        seconds: for the kinds that take them.
        fields: of the filters that are misread; none means all. Who does not filter by
            them is not struck.
        times: after so many strikes it is over; None never ends.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    operation: str
    kind: str
    share: float = 1.0
    seconds: float | None = None
    fields: Sequence[str] = ()
    times: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "operation", _SHORT.get(self.operation, self.operation)
        )
        if self.operation not in _TARGETS:
            raise ValueError(
                f"operation: there is no {self.operation!r}; there are: {', '.join(_TARGETS)}"
            )
        if self.kind not in KINDS:
            raise ValueError(
                f"kind: there is no {self.kind!r}; there are: {', '.join(KINDS)}"
            )
        if self.operation not in KINDS[self.kind].strikes:
            able = ", ".join(
                each for each in _TARGETS if each in KINDS[self.kind].strikes
            )
            raise ValueError(
                f"operation: {self.kind} can't strike {self.operation}, but {able}"
            )
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, not {self.share!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(
                f"times must be at least 1, or None for no end, not {self.times!r}"
            )
        self._check_details()

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
        object.__setattr__(self, "fields", tuple(self.fields))

    @property
    def stage(self) -> Stage:
        """Where in a request it strikes."""
        return "webhook" if self.operation == WEBHOOK else KINDS[self.kind].stage

    @classmethod
    def parse(cls, text: str) -> Self:
        """A fault as a command line writes it: `operation:kind[:share[:seconds]]`, or
        fields (`a,b`) for seconds.

        Raises:
            ValueError: it means nothing; the text says what of it.
        """
        parts = text.split(":")
        if not 2 <= len(parts) <= 4:
            raise ValueError(
                f"fault {text!r} must be operation:kind, operation:kind:share or operation:kind:share:detail"
            )
        operation, kind, share, detail = (*parts, "", "")[:4]
        try:
            if kind in KINDS and KINDS[kind].detail == "fields":
                return cls(
                    operation,
                    kind,
                    float(share or 1),
                    fields=tuple(detail.split(",")) if detail else (),
                )
            return cls(
                operation, kind, float(share or 1), float(detail) if detail else None
            )
        except ValueError as problem:
            raise ValueError(f"fault {text!r}: {problem}") from None

    @classmethod
    def script(cls, operation: str, *steps: str) -> tuple[Self, ...]:
        """What happens to the next requests of an operation, one after the other:
        `kind`, or `kind:detail`, for each.

        Raises:
            ValueError: a step means nothing, or does not exclude another one and so
                can't wait for its turn.
        """
        pairs = (step.partition(":") for step in steps)
        faults = tuple(
            replace(cls.parse(f"{operation}:{kind}:1:{detail}"), times=1)
            for kind, _, detail in pairs
        )
        if len({fault.stage for fault in faults}) > 1:
            raise ValueError(
                f"script: {', '.join(steps)} strike a request in different places; make a script of each"
            )
        return faults

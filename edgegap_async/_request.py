"""What every attempt of one call sends: URL, headers, body. Pure; a wrong word or
argument ends here, unsent.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from msgspec import Struct, json
from yarl import URL

from ._endpoint import Endpoint
from ._version import __version__
from .errors import EdgegapError
from .models._check import fail, text

B = TypeVar("B")
T = TypeVar("T")


class Withdrawn(Exception):
    """It has started nothing, and is not to be sent any more."""


class Voyage:
    """Whether a request is on its way: then it is not cut short, as what it may start
    must not be lost from sight.
    """

    __slots__ = ("cut", "failure", "recalled", "sent", "since", "under_way", "wanted")

    def __init__(self) -> None:
        self.under_way: bool = False
        # a cancellation cut it off after it was sent
        self.cut: bool = False
        # and nobody knows yet that this has started nothing
        self.sent: bool = False
        # when it was last sent, on the loop's clock
        self.since: float = 0.0
        # it is not to be sent any more
        self.recalled: bool = False
        # somebody waits for what comes of it
        self.wanted: bool = True
        # of its latest attempt that failed
        self.failure: EdgegapError | None = None

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self.wanted, self.recalled = False, True

    def sets_out(self, now: float) -> None:
        """An attempt begins.

        Raises:
            Withdrawn: it must not, though it has a slot.
        """
        self._may_go()
        self.under_way, self.sent, self.since = True, True, now

    def is_back(self, *, sent: bool) -> None:
        """An attempt is over."""
        self.under_way, self.sent = False, sent

    def failed(self, error: EdgegapError) -> None:
        """An attempt has failed."""
        self.failure = error

    def goes_again(self) -> None:
        """What was sent so far has started nothing, and there will be another attempt.

        Raises:
            Withdrawn: there must not be.
        """
        self.sent = False
        self._may_go()

    def _may_go(self) -> None:
        if self.recalled:
            raise Withdrawn("it has started nothing, and is not sent any more")


class Request(Struct, Generic[B, T], frozen=True):
    """One call, ready to be sent. `deadline` is on the loop's clock, `timeout` the
    seconds that it was made of; `patience`: seconds for one attempt.
    """

    row: Endpoint[B, T]
    url: URL
    data: bytes | None
    headers: Mapping[str, str]
    secret: str
    deadline: float | None
    timeout: float | None
    patience: float
    voyage: Voyage | None = None

    def end(self, started: float) -> float:
        """When an attempt that starts at `started` is given up."""
        end = started + self.patience
        return end if self.deadline is None or self.voyage else min(end, self.deadline)

    def sets_out(self, now: float) -> None:
        """An attempt begins."""
        if self.voyage:
            self.voyage.sets_out(now)

    def cut_off(self, *, sent: bool) -> None:
        """A cancellation ends an attempt."""
        if self.voyage:
            self.voyage.cut = sent

    def is_back(self, *, sent: bool) -> None:
        """An attempt is over."""
        if self.voyage:
            self.voyage.is_back(sent=sent)

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("row", str(self.row))]

    def __repr__(self) -> str:
        # the headers hold the token
        return f"<Request {self.row}>"


def url(
    base: URL,
    row: Endpoint[B, T],
    words: Mapping[str, object],
    query: Mapping[str, str | None],
) -> URL:
    """The URL of an operation: its template filled with percent-encoded words, and the
    parameters that are not None.
    """
    path = row.path
    for name, word in words.items():
        # no word holds a brace: encoded, it is %7B
        path = path.replace(f"{{{name}}}", path_word(name, word))
    given = (
        {name: value for name, value in query.items() if value is not None}
        if query
        else None
    )
    if base.raw_path != "/":
        path = base.raw_path + path
    # half the work of parsing the whole again
    address = base.with_path(path, encoded=True)
    return (
        URL(f"{address}?{urlencode(given, quote_via=quote)}", encoded=True)
        if given
        else address
    )


def path_word(name: str, word: object) -> str:
    """Percent-encoded, so that "a/b" stays one word; the two words that no encoding
    saves are refused.
    """
    if isinstance(word, str) and word.isalnum() and word.isascii():
        # as most are: a request_id is 12 hex digits
        return word
    checked = text(name, word)
    if checked in (".", ".."):
        fail(name, f"must not be {checked!r}: a path can't hold it")
    return quote(checked, safe="")


def headers(authorization: str) -> dict[str, str]:
    """What every request carries."""
    return {
        "Authorization": authorization,
        "User-Agent": f"edgegap_async/{__version__}",
    }


def content(
    body: object, authorization: str | None
) -> tuple[bytes | None, Mapping[str, str]]:
    """The JSON of a body, and the headers that the requests of one call carry besides
    those of all, or instead.
    """
    data = None if body is None else json.encode(body)
    own: dict[str, str] = {}
    if data is not None:
        own["Content-Type"] = "application/json"
    if authorization is not None:
        own["Authorization"] = authorization
    return data, own

"""What the journal stores of one deploy or one tag.

Never stored: users, environment variables, tags of the user, URLs of webhooks, and the
token.
"""

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

# pending      a deploy that may have been sent: its tag must be searched for
# held         a server that runs for a block, or whose outcome was not taken
# stopping     a server whose stop is due
# checked      a tag whose server was handed out, or has ended: a second one, which a proxy
#              has started, is searched for once
# quarantine   a tag without a server, under which one may still turn up
EntryState: TypeAlias = Literal["pending", "held", "stopping", "checked", "quarantine"]
Where: TypeAlias = Literal["cloud", "fleet"]


class Entry(Struct, frozen=True, omit_defaults=True):
    """One deploy, server or tag that a session is responsible for.

    Attributes:
        since: seconds since 1970, on the clock of the machine that made it first.
        tag: of the deploy.
        request_id: of the server, once it is known.
        where: where it runs.
        except_ids: servers under the tag that were handed out, and must not be stopped.
    """

    state: EntryState
    since: float
    tag: str | None = None
    request_id: str | None = None
    where: Where = "cloud"
    except_ids: tuple[str, ...] = ()


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


def decode(data: bytes) -> Entry | None:
    """Decode an entry. None: it can't be read, as a newer version has written it."""
    try:
        return _decode(data)
    except msgspec.MsgspecError:
        return None

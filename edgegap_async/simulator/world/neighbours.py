"""What others run in the same organization: it makes lists long, and is nobody's here."""

from collections.abc import Iterator
from random import Random

from .deployment import NO_END, Deployment
from .locations import PLACES

# seconds since the oldest of them was deployed
_AGE = 3600.0
_READY_AFTER = 3.0


def crowd(size: int, seed: int, now: float, stop_takes: float) -> Iterator[Deployment]:
    """So many deployments that are READY, older than all that comes after `now`, and
    run until somebody stops them.

    They are drawn by themselves, and their numbers end at -1: what is deployed later is
    the same with and without them.
    """
    chance = Random(f"others of {seed}")
    ids: dict[str, None] = {}
    while len(ids) < size:
        ids[f"{chance.getrandbits(48):012x}"] = None
    for index, request_id in enumerate(ids):
        created = now - _READY_AFTER - _AGE * (size - index) / size
        yield Deployment(
            number=index - size,
            request_id=request_id,
            application="other-game",
            version="1.0",
            created=created,
            settles=created + _READY_AFTER,
            fails=False,
            stop_takes=stop_takes,
            place=PLACES[index % len(PLACES)],
            delete_token=f"{chance.getrandbits(128):032x}",
            access_point=index + 1,
            max_duration=NO_END,
        )

"""The deployments of neighbours: other users of the same organization.

They make lists long. Code under test must not stop them.
"""

from collections.abc import Iterator
from random import Random

from .deployment import NO_END, Deployment
from .locations import LOCATIONS

# In seconds: the age of the oldest deployment.
_AGE = 3600.0
# In seconds: the start-up time of each deployment.
_READY_AFTER = 3.0


def neighbours(
    size: int, seed: int, now: float, stop_takes: float
) -> Iterator[Deployment]:
    """Make deployments that are READY at `now`, and that run until they are stopped.

    They have their own random generator and negative numbers. So later deployments are
    the same with and without them.
    """
    random = Random(f"neighbours of {seed}")
    ids: dict[str, None] = {}
    while len(ids) < size:
        ids[f"{random.getrandbits(48):012x}"] = None
    for index, request_id in enumerate(ids):
        created_at = now - _READY_AFTER - _AGE * (size - index) / size
        yield Deployment(
            number=index - size,
            request_id=request_id,
            application="other-game",
            version="1.0",
            created_at=created_at,
            ready_or_failed_at=created_at + _READY_AFTER,
            fails=False,
            stop_takes=stop_takes,
            location=LOCATIONS[index % len(LOCATIONS)],
            delete_token=f"{random.getrandbits(128):032x}",
            access_point=index + 1,
            max_duration=NO_END,
        )

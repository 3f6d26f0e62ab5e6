"""What the API keeps, and what can be done to it. Pure: who asks gives the time, in
seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Literal, TypeAlias, get_args

from ...models.deploy import (
    ByCoordinates,
    DeployRequest,
    EnvironmentVariable,
    FleetDeployRequest,
    Webhook,
)
from ...models.deployment import BulkStopFilter
from ...models.paging import ListQuery
from .clock import Clock
from .deployment import Deployment, Phase, Tag
from .errors import Refusal
from .index import Index
from .listing import Page, matches, page_of, to_stop
from .locations import PLACES, Host, Place, hosts_of, nearest
from .neighbours import crowd
from .options import Draw, check_draw, drawn
from .webhook_schedule import ERROR, READY, TERMINATED, Notices

Gone: TypeAlias = Literal["404", "410", "400", "terminated"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the world is like, where a test wants to say so or nobody knows. `Simulator`
    tells what each one means.
    """

    ready_after: Draw = (2.0, 5.0)
    error_share: float = 0.0
    stop_takes: float = 0.5
    gone: Gone = "404"
    newest_first: bool = True
    max_page_size: int = 100
    others: int = 0

    def __post_init__(self) -> None:
        check_draw("ready_after", self.ready_after)
        if not 0 <= self.error_share <= 1:
            raise ValueError(
                f"error_share must be a share from 0 to 1, not {self.error_share!r}"
            )
        if not 0 <= self.stop_takes < inf:
            raise ValueError(
                f"stop_takes must be a number of seconds, not {self.stop_takes!r}"
            )
        if self.gone not in get_args(Gone):
            raise ValueError(
                f"gone must be 404, 410, 400 or terminated, as text, not {self.gone!r}"
            )
        if self.max_page_size < 1:
            raise ValueError(
                f"max_page_size must be at least 1, not {self.max_page_size!r}"
            )
        if self.others < 0:
            raise ValueError(
                f"others must be a number of deployments, not {self.others!r}"
            )


class World:
    """All deployments that there are and were, and the fleets; those of others have run
    for a while at `now`.
    """

    def __init__(
        self, choices: Choices, seed: int, clock: Clock, now: float = 0.0
    ) -> None:
        self.clock = clock
        self.notices: Notices = Notices()
        self._choices = choices
        self._chance = Random(seed)
        self._known: dict[str, Deployment] = {}
        self._index = Index()
        self._stopped: dict[str, None] = {}
        self._fleets: dict[str, tuple[Host, ...]] = {}
        self._hosts: dict[str, Host] = {}
        for other in crowd(choices.others, seed, now, choices.stop_takes):
            self._known[other.request_id] = other
            self._index.add(other, now)

    def deploy(
        self, body: DeployRequest, now: float, *, allocated: bool = True
    ) -> Deployment:
        """Start a deployment; one for which no server is `allocated` is in error at
        once.
        """
        host = self._host_for(body)
        deployment = Deployment(
            number=len(self._known) - self._choices.others,
            request_id=self._new_id(),
            application=body.application,
            version=body.version,
            created=now,
            settles=now + self._ready_after(allocated),
            fails=(self._chance.random() < self._choices.error_share) or not allocated,
            stop_takes=self._choices.stop_takes,
            place=host.place if host else self._place_for(body),
            delete_token=f"{self._chance.getrandbits(128):032x}",
            access_point=self._chance.randrange(1, 1_000_000),
            host=host if allocated else None,
            webhooks=_webhooks(body),
            variables=_variables(body),
            tags={name: Tag(now, now) for name in body.tags or ()},
            allocated=allocated,
        )
        self._known[deployment.request_id] = deployment
        self._index.add(deployment, now)
        self.notices.expect(deployment)
        return deployment

    def stop(self, deployment: Deployment, now: float) -> None:
        """Stop a deployment: now, or once it is ready or in error. To ask again changes
        nothing.
        """
        self._stopped[deployment.request_id] = None
        if deployment.stop_asked is None:
            deployment.stop_asked = now
            self._index.sort_in(deployment, now)
            self.notices.expect(deployment)

    def bulk_stop(
        self, filters: Sequence[BulkStopFilter], now: float
    ) -> list[Deployment]:
        """Stop all that pass every filter, and say which those are. No filter at all:
        all.
        """
        self._index.advance(now)
        found = to_stop(self._index, filters)
        for deployment in found:
            self.stop(deployment, now)
        return found

    def page(
        self, query: ListQuery, number: int, size: int, now: float, lag: float = 0.0
    ) -> Page:
        """One page of the deployments that exist, or existed `lag` seconds ago; a size
        that is too large is cut.
        """
        self._index.advance(now)
        found = matches(self._index, query, self.clock, now, lag)
        return page_of(
            found,
            query,
            number,
            min(size, self._choices.max_page_size),
            self._choices.newest_first,
        )

    def find(
        self, request_id: str, now: float, *, ended_too: bool = False
    ) -> Deployment:
        """A deployment that exists, or one that has ended if both the caller and the
        choices are for it.
        """
        self._index.advance(now)
        deployment, gone = self._known.get(request_id), self._choices.gone
        if deployment is not None and (
            deployment.phase is not Phase.ENDED or (ended_too and gone == "terminated")
        ):
            return deployment
        if gone == "400":
            raise Refusal(400, "Bad Request ID provided")
        if deployment is not None and gone == "410":
            raise Refusal(410, f"Deployment {request_id} is terminated")
        raise Refusal(404, f"Deployment {request_id} not found")

    def find_to_stop(self, request_id: str, now: float) -> Deployment:
        """A deployment that exists; 404 for one that never did, 410 for one that has
        ended.
        """
        self._index.advance(now)
        deployment = self._known.get(request_id)
        if deployment is None:
            raise Refusal(404, f"Deployment {request_id} not found")
        if deployment.phase is Phase.ENDED:
            raise Refusal(410, f"Deployment {request_id} is already terminated")
        return deployment

    def tag(self, deployment: Deployment, name: str) -> Tag:
        """A tag of a deployment."""
        found = deployment.tags.get(name)
        if found is None:
            raise Refusal(404, f"Tag {name} not found")
        return found

    def create_tag(
        self,
        deployment: Deployment,
        name: str,
        now: float,
        created: float | None = None,
    ) -> Tag:
        """Add a tag."""
        if name in deployment.tags:
            raise Refusal(409, f"Tag {name} already exists")
        tag = Tag(now if created is None else created, now)
        self._index.tag(deployment, name, tag)
        return tag

    def rename_tag(
        self, deployment: Deployment, name: str, new_name: str, now: float
    ) -> Tag:
        """Give a tag another name; the time of its making stays."""
        if new_name != name and new_name in deployment.tags:
            raise Refusal(409, f"Tag {new_name} already exists")
        created = self.tag(deployment, name).created
        self._index.untag(deployment, name)
        return self.create_tag(deployment, new_name, now, created)

    def delete_tag(self, deployment: Deployment, name: str) -> None:
        """Take a tag away."""
        self.tag(deployment, name)
        self._index.untag(deployment, name)

    def fleet(self, name: str) -> tuple[Host, ...]:
        """The hosts of a fleet. Every name is a fleet; it is made up when it is first
        asked for.
        """
        if name not in self._fleets:
            self._fleets[name] = hosts_of(name, len(self._hosts))
            self._hosts |= {host.host_id: host for host in self._fleets[name]}
        return self._fleets[name]

    def on_host(self, host: Host, now: float) -> int:
        """How many deployments that exist are on a host."""
        self._index.advance(now)
        return self._index.on_host(host)

    # The rest changes nothing, so that a test may ask it from another thread.

    def deployed(self) -> tuple[str, ...]:
        """All that were ever deployed here, in the order of arrival."""
        return tuple(self._known)[self._choices.others :]

    def running(self, now: float) -> frozenset[str]:
        """Those that were deployed here and exist."""
        there = list(self._index.all.values())
        return frozenset(
            each.request_id for each in there if each.number >= 0 and now < each.ends
        )

    def stopped(self) -> tuple[str, ...]:
        """Those whose stop was accepted, of others too, in the order of arrival."""
        return tuple(sorted(self._stopped, key=lambda each: self._known[each].number))

    def known(self, request_id: str) -> Deployment:
        """One that was ever deployed, here or by others; LookupError if there is none."""
        return self._known[request_id]

    def _ready_after(self, allocated: bool) -> float:
        # Drawn in any case: what is left to chance for the others must not depend on
        # this one.
        seconds = drawn(self._choices.ready_after, self._chance)
        return seconds if allocated else 0.0

    def _new_id(self) -> str:
        while (request_id := f"{self._chance.getrandbits(48):012x}") in self._known:
            pass
        return request_id

    def _place_for(self, body: DeployRequest) -> Place:
        for user in body.users:
            if isinstance(user, ByCoordinates):
                return nearest(user.user_data.latitude, user.user_data.longitude)
        return self._chance.choice(PLACES)

    def _host_for(self, body: DeployRequest) -> Host | None:
        """The first host that there is. Overflow goes to the cloud, and so does who
        asks for no host of a fleet.
        """
        wanted = body.private_host_ids if isinstance(body, FleetDeployRequest) else ()
        return next((self._hosts[each] for each in wanted if each in self._hosts), None)


def _webhooks(body: DeployRequest) -> dict[str, str]:
    asked = {
        READY: body.webhook_on_ready,
        ERROR: body.webhook_on_error,
        TERMINATED: body.webhook_on_terminated,
    }
    return {
        event: hook.url for event, hook in asked.items() if isinstance(hook, Webhook)
    }


def _variables(body: DeployRequest) -> dict[str, str]:
    given = body.environment_variables or ()
    return {
        each.key: each.value for each in given if isinstance(each, EnvironmentVariable)
    }

"""The state of the API, and the operations on it. The caller passes the time.

The methods that tests call from another thread (`deployed`, `running`, `stopped`,
`known`) change nothing.
"""

from collections.abc import Collection, Sequence
from math import inf
from operator import itemgetter
from random import Random

from ...models.deploy import (
    ByCoordinates,
    DeployRequest,
    FleetDeployRequest,
    Webhook,
)
from ...models.deployment import BulkStopFilter
from ...models.paging import ListQuery
from .catalog import Catalog
from .clock import Clock
from .deployment import Deployment, Phase, Tag
from .errors import ApiError
from .index import Index
from .listing import AS_DOCUMENTED, ListBehaviour, Page, matching, page_of, to_stop
from .locations import LOCATIONS, Host, Location, hosts_of, nearest
from .neighbours import neighbours
from .options import WorldOptions, draw_delay
from .registry import Registry
from .relays import Relays
from .storage import Storages
from .version_settings import of_version, variables
from .webhook_schedule import ERROR, READY, TERMINATED, WebhookSchedule


class World:
    """All deployments, past and present, and the private fleets.

    The deployments of neighbours are READY at `now` already.
    """

    def __init__(
        self, options: WorldOptions, seed: int, clock: Clock, now: float = 0.0
    ) -> None:
        self.clock = clock
        self.options = options
        self._seed = seed
        self.resets: int = 0
        self._begin(now)

    def reset(self, now: float) -> None:
        """Forget everything, and begin again with the same seed.

        Times and failures are the same again, but the IDs are new: a client that still
        has an ID from before must not reach another deployment with it.
        """
        self.resets += 1
        self._begin(now)

    def _begin(self, now: float) -> None:
        self.webhook_schedule: WebhookSchedule = WebhookSchedule()
        self.catalog: Catalog = Catalog()
        self.relays: Relays = Relays(self._seed)
        self.storages: Storages = Storages()
        self.registry: Registry = Registry(self._seed)
        self._random = Random(self._seed)
        self._id_mask = (
            Random(f"IDs after {self.resets} resets of {self._seed}").getrandbits(48)
            if self.resets
            else 0
        )
        # How many deployments were made here, how many have an accepted stop, and how
        # many existed at once.
        self.deployed_count: int = 0
        self.stopped_count: int = 0
        self.most_at_once: int = 0
        self._known: dict[str, Deployment] = {}
        self._index = Index()
        # Each with its number.
        self._stopped: dict[str, int] = {}
        self._fleets: dict[str, tuple[Host, ...]] = {}
        self._hosts: dict[str, Host] = {}
        for each in neighbours(
            self.options.neighbours, self._seed, now, self.options.stop_takes
        ):
            self._known[each.request_id] = each
            self._index.add(each, now)

    def deploy(
        self, body: DeployRequest, now: float, *, allocated: bool = True
    ) -> Deployment:
        """Start a deployment. Without an `allocated` server, it is in ERROR at once.

        Raises:
            ApiError: The catalog refuses its application or version.
        """
        self.advance(now)
        settings = self.catalog.deployable(body.application, body.version)
        environment = variables(settings, body)
        host = self._host_for(body)
        deployment = Deployment(
            number=self.deployed_count,
            request_id=self._new_id(),
            application=body.application,
            version=body.version,
            created_at=now,
            ready_or_failed_at=now + self._ready_after(allocated),
            fails=(self._random.random() < self.options.error_share) or not allocated,
            stop_takes=self.options.stop_takes,
            location=host.location if host else self._location_for(body),
            delete_token=f"{self._random.getrandbits(128):032x}",
            access_point=self._random.randrange(1, 1_000_000),
            host=host if allocated else None,
            webhooks=_webhooks(body),
            environment={each.key: each.value for each in environment},
            hidden=frozenset(each.key for each in environment if each.is_hidden),
            **of_version(settings),
            tags={name: Tag(now, now) for name in body.tags or ()},
            allocated=allocated,
        )
        deployment.crashes_at = deployment.ready_or_failed_at + self._crash_after()
        self._known[deployment.request_id] = deployment
        self._index.add(deployment, now)
        self.deployed_count += 1
        self.most_at_once = max(self.most_at_once, self._index.own)
        self.webhook_schedule.add(deployment)
        return deployment

    def crash(self, deployment: Deployment, now: float) -> None:
        """Let the container of a deployment crash, which makes it ERROR.

        Raises:
            ApiError: 409: it is not READY.
        """
        if deployment.phase_at(now) is not Phase.READY:
            state, _ = deployment.states(now)
            raise ApiError(
                409, f"Deployment {deployment.request_id} is {state}, not READY"
            )
        deployment.crashes_at = now
        self._index.update(deployment, now)
        self.webhook_schedule.add(deployment)

    def stop(self, deployment: Deployment, now: float) -> None:
        """Stop a deployment now, or once it is READY or in ERROR.

        A second stop changes nothing.
        """
        if deployment.request_id not in self._stopped:
            self._stopped[deployment.request_id] = deployment.number
            self.stopped_count += 1
        if deployment.stop_requested_at is None:
            deployment.stop_requested_at = now
            self._index.update(deployment, now)
            self.webhook_schedule.add(deployment)

    def bulk_stop(
        self, filters: Sequence[BulkStopFilter], now: float
    ) -> list[Deployment]:
        """Stop and return the deployments that pass every filter.

        Without filters, these are all deployments.
        """
        self.advance(now)
        found = to_stop(self._index, filters)
        for deployment in found:
            self.stop(deployment, now)
        return found

    def page(
        self,
        query: ListQuery,
        number: int,
        size: int,
        now: float,
        behaviour: ListBehaviour = AS_DOCUMENTED,
    ) -> Page:
        """Return a page of the deployments that existed when the list was current.

        A size above the largest page size is reduced to it.
        """
        self.advance(now)
        found = matching(self._index, query, self.clock, now, behaviour)
        size = min(size, self.options.max_page_size)
        newest_first = self.options.newest_first
        return page_of(found, query, number, size, newest_first, behaviour.order)

    def find(
        self, request_id: str, now: float, *, include_ended: bool = False
    ) -> Deployment:
        """Return a deployment that exists.

        A deployment that has ended is returned only with `include_ended`, and only if
        the option `gone` is `terminated`.

        Raises:
            ApiError: There is no such deployment, or it is not visible yet.
        """
        deployment, gone = self._visible(request_id, now), self.options.gone
        shows_ended = include_ended and gone == "terminated"
        if deployment and (deployment.phase is not Phase.ENDED or shows_ended):
            return deployment
        if gone == "400":
            raise ApiError(400, "Bad Request ID provided")
        if deployment and gone == "410":
            raise ApiError(410, f"Deployment {request_id} is terminated")
        raise ApiError(404, f"Deployment {request_id} not found")

    def find_to_stop(self, request_id: str, now: float) -> Deployment:
        """Return a deployment that exists.

        Raises:
            ApiError: 404 if it never existed or is not visible yet, 410 if it has
                ended.
        """
        deployment = self._visible(request_id, now)
        if deployment is None:
            raise ApiError(404, f"Deployment {request_id} not found")
        if deployment.phase is Phase.ENDED:
            raise ApiError(410, f"Deployment {request_id} is already terminated")
        return deployment

    def tag(self, deployment: Deployment, name: str) -> Tag:
        """Return a tag of a deployment."""
        found = deployment.tags.get(name)
        if found is None:
            raise ApiError(404, f"Tag {name} not found")
        return found

    def create_tag(
        self,
        deployment: Deployment,
        name: str,
        now: float,
        created: float | None = None,
    ) -> Tag:
        """Add a tag to a deployment."""
        if name in deployment.tags:
            raise ApiError(409, f"Tag {name} already exists")
        tag = Tag(now if created is None else created, now)
        self._index.add_tag(deployment, name, tag)
        return tag

    def rename_tag(
        self, deployment: Deployment, name: str, new_name: str, now: float
    ) -> Tag:
        """Rename a tag; its creation time stays."""
        if new_name != name and new_name in deployment.tags:
            raise ApiError(409, f"Tag {new_name} already exists")
        created = self.tag(deployment, name).created
        self._index.remove_tag(deployment, name)
        return self.create_tag(deployment, new_name, now, created)

    def delete_tag(self, deployment: Deployment, name: str) -> None:
        """Remove a tag from a deployment."""
        self.tag(deployment, name)
        self._index.remove_tag(deployment, name)

    def fleet(self, name: str) -> tuple[Host, ...]:
        """Return the hosts of a fleet. Every name is a fleet, created on first use."""
        if name not in self._fleets:
            self._fleets[name] = hosts_of(name, len(self._hosts))
            self._hosts |= {host.host_id: host for host in self._fleets[name]}
        return self._fleets[name]

    def on_host(self, host: Host, now: float) -> int:
        """Return how many deployments exist on a host."""
        self.advance(now)
        return self._index.on_host(host)

    def advance(self, now: float) -> None:
        """Carry out all changes that are due, and forget what has to be forgotten."""
        self._index.advance(now)
        if self.options.keep is None:
            return
        for ended in self._index.forget_ended(self.options.keep):
            del self._known[ended.request_id]
            self._stopped.pop(ended.request_id, None)

    def existing(self, now: float) -> Collection[Deployment]:
        """Return the deployments that exist, in the order of arrival; those of
        neighbours first.
        """
        self.advance(now)
        return self._index.all.values()

    def all_known(self, now: float) -> list[Deployment]:
        """Return all deployments made here, past and present, in order of arrival."""
        self.advance(now)
        return [each for each in self._known.values() if each.number >= 0]

    def deployed(self) -> tuple[str, ...]:
        """Return the IDs of all deployments made here, in the order of arrival."""
        # A copy, as the server may change it meanwhile.
        known = list(self._known.values())
        return tuple(each.request_id for each in known if each.number >= 0)

    def running(self, now: float) -> frozenset[str]:
        """Return the IDs of what was deployed here and exists."""
        # A copy, as the server may change the index meanwhile.
        existing = list(self._index.all.values())
        return frozenset(
            each.request_id
            for each in existing
            if each.number >= 0 and now < each.terminated_at
        )

    def stopped(self) -> tuple[str, ...]:
        """Return the IDs of all deployments with an accepted stop, in order of arrival.

        Deployments of neighbours are included.
        """
        stopped = list(self._stopped.items())
        return tuple(request_id for request_id, _ in sorted(stopped, key=itemgetter(1)))

    def known(self, request_id: str) -> Deployment:
        """Return a deployment, past or present, of a neighbour too.

        Raises:
            LookupError: It never existed, or is forgotten.
        """
        try:
            return self._known[request_id]
        except KeyError:
            raise LookupError(f"there is no deployment {request_id!r}") from None

    def _visible(self, request_id: str, now: float) -> Deployment | None:
        """Return a deployment, past or present, that the replica shows by now."""
        self.advance(now)
        deployment = self._known.get(request_id)
        lag = self.options.replica_lag
        return deployment if deployment and now >= deployment.created_at + lag else None

    def _ready_after(self, allocated: bool) -> float:
        # It draws in any case: the random numbers of other deployments must not depend
        # on whether this one was allocated.
        seconds = draw_delay(self.options.ready_after, self._random)
        return seconds if allocated else 0.0

    def _crash_after(self) -> float:
        after = self.options.crash_after
        return inf if after is None else draw_delay(after, self._random)

    def _new_id(self) -> str:
        while True:
            request_id = f"{self._random.getrandbits(48) ^ self._id_mask:012x}"
            if request_id not in self._known:
                return request_id

    def _location_for(self, body: DeployRequest) -> Location:
        for user in body.users:
            if isinstance(user, ByCoordinates):
                return nearest(user.user_data.latitude, user.user_data.longitude)
        return self._random.choice(LOCATIONS)

    def _host_for(self, body: DeployRequest) -> Host | None:
        """Return the first requested host that exists; None means the cloud."""
        wanted = body.private_host_ids if isinstance(body, FleetDeployRequest) else ()
        return next((self._hosts[each] for each in wanted if each in self._hosts), None)


def _webhooks(body: DeployRequest) -> dict[str, str]:
    requested = {
        READY: body.webhook_on_ready,
        ERROR: body.webhook_on_error,
        TERMINATED: body.webhook_on_terminated,
    }
    return {
        event: hook.url
        for event, hook in requested.items()
        if isinstance(hook, Webhook)
    }

"""The JSON of deployments, limits and faults, for the endpoints and the events."""

from collections.abc import Mapping, Sequence

from ..faults.fault import Fault
from ..faults.injector import FaultInjector
from ..faults.kinds import KINDS, TARGETS
from ..http.bodies import error_detail, fqdn, ports, public_ip
from ..http.container import environment, logs
from ..http.responses import Json
from ..rate_limits import RateLimits, SecondCounts
from ..world.clock import Clock
from ..world.deployment import STARTING_STATES, Deployment, Phase

# The token with which a container can stop itself.
_SECRET_VARIABLES = frozenset({"ARBITRIUM_DELETE_TOKEN"})


def state_of(it: Deployment, now: float) -> str:
    """Return the state of a deployment whose phase is up to date."""
    # Most are READY. This is much faster than `states`, or a dict of phases.
    return "READY" if it.phase is Phase.READY else it.states(now)[0]


def group_of(state: str) -> str:
    """Return the group of a state: all states before READY and ERROR are `pending`."""
    return "pending" if state in STARTING_STATES else state.lower()


def row(it: Deployment, now: float, clock: Clock) -> dict[str, object]:
    """Return the row of a deployment."""
    has_address = now >= it.address_known_at
    return {
        "request_id": it.request_id,
        "state": state_of(it, now),
        "application": it.application,
        "version": it.version,
        "tags": list(it.tags),
        "city": it.location.city,
        "created_at": clock.iso(it.created_at),
        "stop_requested": it.stop_requested_at is not None,
        "ports": {
            name: {"internal": port["internal"], "external": port["external"]}
            for name, port in (ports(it) if has_address else {}).items()
        },
    }


def details(
    it: Deployment, now: float, clock: Clock, base_url: str, *, with_values: bool
) -> Json:
    """Return everything about a deployment, but no secret."""
    has_address = now >= it.address_known_at
    return {
        **row(it, now, clock),
        "country": it.location.country,
        "host_id": it.host.host_id if it.host else None,
        "fqdn": fqdn(it) if has_address else None,
        "public_ip": public_ip(it) if has_address else None,
        "ports": ports(it) if has_address else {},
        "error_detail": error_detail(it) if now >= it.failed_at else None,
        "states": [
            {"state": state, "since": clock.iso(when)}
            for state, when in it.history(now)
        ],
        "webhooks": [
            {
                "event": each.event,
                "due_at": clock.iso(each.when),
                "to": each.to,
                "result": each.result,
            }
            for each in it.sent_webhooks
        ],
        "logs": logs(it, now, clock),
        "environment": variables(it, base_url, with_values=with_values),
    }


def variables(
    it: Deployment, base_url: str, *, with_values: bool = True
) -> Mapping[str, str | None]:
    """Return the environment variables of a container. The value of a secret is None."""
    secret = _SECRET_VARIABLES | it.hidden
    return {
        name: None if name in secret or not with_values else value
        for name, value in environment(it, base_url).items()
    }


def limits(all_limits: RateLimits, since: int | None = None) -> Json:
    """Return the settings and counts of all limits.

    Args:
        all_limits: The limits.
        since: The first second whose counts are included. None: all that are kept.
    """
    return {
        "enforcement": all_limits.settings.enforcement,
        "limits": {
            name: {
                "rate": limit.rate,
                **limit.counts(),
                "seconds": [
                    _second(each)
                    for each in limit.seconds
                    if since is None or each.second >= since
                ],
            }
            for name, limit in all_limits.by_name.items()
        },
    }


def _second(it: SecondCounts) -> tuple[int, int, int, float | None]:
    return it.second, it.arrivals, it.refused, it.rate


def faults(injector: FaultInjector) -> Sequence[Json]:
    """Return the active faults, and how often each kind has occurred in its operation."""
    return [fault(each, injector.hits_of(each)) for each in injector.faults]


def fault(it: Fault, occurred: int) -> Json:
    """Return one fault."""
    return {
        "operation": it.operation,
        "kind": it.kind,
        "share": it.share,
        "seconds": it.seconds,
        "fields": list(it.fields),
        "times": it.times,
        "occurred": occurred,
    }


def fault_kinds() -> Sequence[Json]:
    """Return all kinds of fault."""
    return [
        {
            "kind": name,
            "about": kind.about,
            "takes": kind.detail,
            "operations": [each for each in TARGETS if each in kind.operations],
        }
        for name, kind in KINDS.items()
    ]

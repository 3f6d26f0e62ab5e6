"""What is to be seen of a container: its logs, its metrics, its environment. Plausible,
and the same in every run.
"""

import json
import re
from collections.abc import Callable

from ...endpoints import SELF_STOP
from ..world.clock import Clock
from ..world.deployment import Deployment
from ..world.errors import Refusal
from .bodies import Json, error_detail, location, ports, public_ip

# seconds between two lines of a game server that runs
_HEARTBEAT = 30
# how far back logs are kept
_LINES = 200
# seconds between two samples, where nobody asks for other steps
_SAMPLE = 30
_UNITS = {"s": 1, "m": 60, "h": 3600}
# as many as the usual time-series database answers
_MOST_POINTS = 11_000


def logs(it: Deployment, now: float, clock: Clock) -> Json:
    """What the container wrote so far."""
    crashed = it.fails and it.allocated and now >= it.settles and bool(it.number % 2)
    written = _written(it, now, clock)
    crash = {"exit_code": 1, "message": error_detail(it), "restart_count": 1}
    return {
        "logs": written,
        "encoding": "utf-8",
        "crash_logs": f"{clock.text(it.settles)} Segmentation fault\n"
        if crashed
        else None,
        "crash_data": crash if crashed else None,
        "logs_link": None,
    }


def _written(it: Deployment, now: float, clock: Clock) -> str:
    if not it.became_ready(now):
        return ""
    until = min(now, it.leaves)
    beats = int((until - it.settles) // _HEARTBEAT)
    lines = [
        (it.settles, f"{it.application} {it.version} starts"),
        (it.settles, "Listening on 7777/UDP"),
    ]
    lines += [
        (it.settles + beat * _HEARTBEAT, f"Tick {beat}, 0 players")
        for beat in range(max(1, beats - _LINES), beats + 1)
    ]
    if now >= it.leaves:
        lines.append((it.leaves, "SIGTERM received, shutting down"))
    return "".join(f"{clock.text(when)} {line}\n" for when, line in lines)


def metrics(
    it: Deployment,
    now: float,
    clock: Clock,
    start: float | None,
    end: float | None,
    steps: str | None,
) -> Json:
    """All series between two times; nothing is measured before a deployment is ready,
    or after its stop has begun.

    Raises:
        Refusal: `steps` can't be read, or means too many points.
    """
    first = it.settles if start is None else max(it.settles, start)
    last = min(now, it.leaves) if end is None else min(now, it.leaves, end)
    step = _step(steps)
    count = (
        int((last - first) / step) + 1 if last >= first and it.became_ready(now) else 0
    )
    if count > _MOST_POINTS:
        raise Refusal(
            400,
            f"steps: {steps} means {count} points, of which there can be {_MOST_POINTS}",
        )
    times = [first + step * point for point in range(count)]
    labels = [clock.text(when)[11:19] for when in times]
    timestamps = [clock.text_in_milliseconds(when) for when in times]

    def series(value: Callable[[float], float]) -> Json:
        return {
            "labels": labels,
            "datasets": [str(int(value(when))) for when in times],
            "timestamps": timestamps,
        }

    def grows(per_second: float) -> Json:
        return series(lambda when: per_second * (when - it.settles))

    def wavers(around: float) -> Json:
        # A tenth up and down, out of step from one deployment to the next.
        return series(
            lambda when: (
                around * (1 + 0.1 * ((int(when) * 7 + it.number * 13) % 21 - 10) / 10)
            )
        )

    return {
        "total": {
            "receive_total": grows(2458),
            "transmit_total": grows(9832),
            "disk_read_total": grows(12),
            "disk_write_total": grows(120),
        },
        "cpu": wavers(250),
        "mem": wavers(310_000_000),
        "network": {"receive": wavers(2458), "transmit": wavers(9832)},
    }


def _step(steps: str | None) -> int:
    if steps is None:
        return _SAMPLE
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smh])", steps)
    if found is None:
        raise Refusal(400, f"steps: must be like 30s, 1m or 1h, not {steps!r}")
    return int(found[1]) * _UNITS[found[2]]


def environment(it: Deployment, base_url: str) -> dict[str, str]:
    """The variables that are injected into the container, and those that the deploy
    asked for.
    """
    mapping = {
        key: {part: port[part] for part in ("name", "internal", "external", "protocol")}
        for key, port in ports(it).items()
    }
    variables = {
        "ARBITRIUM_REQUEST_ID": it.request_id,
        "ARBITRIUM_PUBLIC_IP": public_ip(it),
        "ARBITRIUM_HOST_ID": it.host.host_id if it.host else f"cloud-{it.request_id}",
        "ARBITRIUM_DEPLOYMENT_TAGS": ",".join(it.tags),
        "ARBITRIUM_DEPLOYMENT_LOCATION": json.dumps(location(it.place)),
        "ARBITRIUM_PORTS_MAPPING": json.dumps({"ports": mapping}),
        "ARBITRIUM_DELETE_URL": base_url
        + SELF_STOP.path.format(
            request_id=it.request_id, access_point_id=it.access_point
        ),
        "ARBITRIUM_DELETE_TOKEN": it.delete_token,
    }
    for key, port in mapping.items():
        for part in ("internal", "external", "protocol"):
            variables[f"ARBITRIUM_PORT_{key.upper()}_{part.upper()}"] = str(port[part])
    return {**it.variables, **variables}

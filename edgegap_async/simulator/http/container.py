"""The logs, the metrics and the environment of a deployment's container.

All of them are made up, and the same in every run.
"""

import json
import re
from collections.abc import Callable, Sequence

from ...endpoints import SELF_STOP
from ..world.clock import Clock
from ..world.deployment import Deployment
from ..world.errors import ApiError
from .bodies import error_detail, location, ports, public_ip
from .responses import Json

# In seconds: the interval between two log lines of a running game server.
_HEARTBEAT = 30
# Older heartbeat lines are dropped.
_MAX_HEARTBEATS = 200
# In seconds: the default interval between two samples of a metric.
_DEFAULT_STEP = 30
_UNITS = {"s": 1, "m": 60, "h": 3600}
# The most samples of a metric, as time-series databases usually limit it.
_MAX_POINTS = 11_000


def logs(it: Deployment, now: float, clock: Clock) -> Json:
    """Return the output of the container so far."""
    crashed = it.allocated and now >= it.failed_at and it.crashes
    crash = {"exit_code": 1, "message": error_detail(it), "restart_count": 1}
    return {
        "logs": _output(it, now, clock),
        "encoding": "utf-8",
        "crash_logs": f"{clock.text(it.failed_at)} Segmentation fault\n"
        if crashed
        else None,
        "crash_data": crash if crashed else None,
        "logs_link": None,
    }


def _output(it: Deployment, now: float, clock: Clock) -> str:
    if not it.became_ready(now):
        return ""
    start, end = it.ready_or_failed_at, it.terminating_at
    listening = ", ".join(f"{each.port}/{each.protocol}" for each in it.ports)
    beats = int((min(now, end) - start) // _HEARTBEAT)
    lines = [
        (start, f"{it.application} {it.version} starts"),
        (start, f"Listening on {listening or 'no port'}"),
    ]
    lines += [
        (start + beat * _HEARTBEAT, f"Tick {beat}, 0 players")
        for beat in range(max(1, beats - _MAX_HEARTBEATS), beats + 1)
    ]
    if now >= end:
        lines.append((end, "SIGTERM received, shutting down"))
    return "".join(f"{clock.text(when)} {line}\n" for when, line in lines)


def metrics(
    it: Deployment,
    now: float,
    clock: Clock,
    start: float | None,
    end: float | None,
    steps: str | None,
) -> Json:
    """Return all metrics between two times.

    There are samples only from READY until the stop begins.

    Raises:
        ApiError: `steps` is invalid, or gives too many points.
    """
    ready_at = it.ready_or_failed_at
    first = ready_at if start is None else max(ready_at, start)
    stopping = min(now, it.terminating_at)
    last = stopping if end is None else min(stopping, end)
    step = _seconds(steps)
    times = _sample_times(first, last, step) if it.became_ready(now) else []
    return _metrics_at(times, it, clock)


def _metrics_at(times: Sequence[float], it: Deployment, clock: Clock) -> Json:
    labels = [clock.text(when)[11:19] for when in times]
    timestamps = [clock.text_in_milliseconds(when) for when in times]

    def series(value: Callable[[float], float]) -> Json:
        return {
            "labels": labels,
            "datasets": [str(int(value(when))) for when in times],
            "timestamps": timestamps,
        }

    def counter(per_second: float) -> Json:
        return series(lambda when: per_second * (when - it.ready_or_failed_at))

    def gauge(mean: float) -> Json:
        # The values differ from the mean by a tenth at most, and between deployments.
        return series(
            lambda when: (
                mean * (1 + 0.1 * ((int(when) * 7 + it.number * 13) % 21 - 10) / 10)
            )
        )

    return {
        "total": {
            "receive_total": counter(2458),
            "transmit_total": counter(9832),
            "disk_read_total": counter(12),
            "disk_write_total": counter(120),
        },
        "cpu": gauge(250),
        "mem": gauge(310_000_000),
        "network": {"receive": gauge(2458), "transmit": gauge(9832)},
    }


def _sample_times(first: float, last: float, step: int) -> list[float]:
    count = int((last - first) / step) + 1 if last >= first else 0
    if count > _MAX_POINTS:
        raise ApiError(
            400, f"steps: {step}s means {count} points, the maximum is {_MAX_POINTS}"
        )
    return [first + step * point for point in range(count)]


def _seconds(steps: str | None) -> int:
    if steps is None:
        return _DEFAULT_STEP
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smh])", steps)
    if found is None:
        raise ApiError(400, f"steps: must be like 30s, 1m or 1h, not {steps!r}")
    return int(found[1]) * _UNITS[found[2]]


def environment(it: Deployment, base_url: str) -> dict[str, str]:
    """Return the environment variables of a container.

    They are those of the platform, of the version and of the deploy request.
    """
    mapping = {
        key: {part: port[part] for part in ("name", "internal", "external", "protocol")}
        for key, port in ports(it).items()
    }
    self_stop = SELF_STOP.path.format(
        request_id=it.request_id, access_point_id=it.access_point
    )
    variables = {
        "ARBITRIUM_REQUEST_ID": it.request_id,
        "ARBITRIUM_PUBLIC_IP": public_ip(it),
        "ARBITRIUM_HOST_ID": it.host.host_id if it.host else f"cloud-{it.request_id}",
        "ARBITRIUM_DEPLOYMENT_TAGS": ",".join(it.tags),
        "ARBITRIUM_DEPLOYMENT_LOCATION": json.dumps(location(it.location)),
        "ARBITRIUM_PORTS_MAPPING": json.dumps({"ports": mapping}),
        "ARBITRIUM_DELETE_URL": base_url + self_stop,
        "ARBITRIUM_DELETE_TOKEN": it.delete_token,
    }
    for key, port in mapping.items():
        for part in ("internal", "external", "protocol"):
            variables[f"ARBITRIUM_PORT_{key.upper()}_{part.upper()}"] = str(port[part])
    return {**it.environment, **variables}

"""A simulator of Edgegap's API on loopback, for tests, demos and load tests. Also an
event loop in virtual time.

    server.py         `Simulator`: its options, counts, start and end
    parts.py          the parts of a started simulator
    control/          the page at `/`, and the endpoints under `/_simulator/`
    page/             the files of the page
    rate_limits.py    counts requests against the limits
    http/             processes requests, and sends webhooks
    world/            the state: deployments, tags, fleets; no I/O
    faults/           injects faults
    virtual_time.py   `VirtualTimeLoop`
    plugin.py         the pytest fixture `edgegap_simulator`

Each name is imported on first use, as every pytest run loads the plugin and this
package with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faults.fault import Fault
    from .server import Simulator
    from .virtual_time import VirtualTimeLoop

_HOMES = {
    "Fault": "faults.fault",
    "Simulator": "server",
    "VirtualTimeLoop": "virtual_time",
}

__all__ = ["Fault", "Simulator", "VirtualTimeLoop"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

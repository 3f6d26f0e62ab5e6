"""The API on loopback, for tests, demos and load tests; and a loop whose time jumps,
for tests that wait.

Nothing is imported before it is used: the pytest plugin lives in this package, and
every pytest run loads it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faults.fault import Fault
    from .server import Simulator
    from .virtual_time import VirtualTimeLoop
else:

    def __getattr__(name: str) -> object:
        match name:
            case "Fault":
                from .faults.fault import Fault

                return Fault
            case "Simulator":
                from .server import Simulator

                return Simulator
            case "VirtualTimeLoop":
                from .virtual_time import VirtualTimeLoop

                return VirtualTimeLoop
            case _:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Fault", "Simulator", "VirtualTimeLoop"]

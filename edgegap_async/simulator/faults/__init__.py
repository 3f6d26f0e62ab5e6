"""What goes wrong on request: `Simulator(faults=[Fault("deploy", "cut-after", 0.05)])`.

`Fault` is the value that a test writes, `KINDS` lists what can go wrong.
`FaultInjector` decides which requests a fault hits, at each stage of a request. The
effect on a connection or response is in `EFFECTS`, on a list or the shown tags in
`lists.py`, and on a webhook in `http/webhooks.py`.
"""

from .fault import Fault
from .kinds import KINDS

__all__ = ["KINDS", "Fault"]

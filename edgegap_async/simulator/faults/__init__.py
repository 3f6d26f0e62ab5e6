"""Fault injection: `Simulator(faults=[Fault("deploy", "cut-after", 0.05)])`.

`Fault` is the value that a test writes. `KINDS` lists all kinds of fault.
`FaultInjector` selects the requests with a fault, at each stage of a request. The
effect on a connection or a response is in `EFFECTS`, the effect on a list or on the
tags of an answer in `lists.py`, and the effect on a webhook in `http/webhooks.py`.
"""

from .fault import Fault
from .kinds import KINDS

__all__ = ["KINDS", "Fault"]

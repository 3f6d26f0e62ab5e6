"""The state of the simulated API, without HTTP, faults or a clock of its own.

`World` stores every deployment, tag and fleet. Each method takes the current time, so
nothing runs in the background: the state of a `Deployment` follows from its age and
from when its stop was requested. `Index` finds deployments without a scan of them all,
`listing` runs the filters of lists and bulk stops, and `WebhookSchedule` says which
webhook is due when.
"""

"""The state of the simulated API, without HTTP, faults or a clock of its own.

`World` stores every deployment, tag and fleet. Each method takes the current time, so
nothing runs in the background: the state of a `Deployment` follows from its age and
from the time of its stop. `Index` finds deployments without a scan of all of them.
`listing` applies the filters of lists and bulk stops. `WebhookSchedule` holds the
webhooks that are not sent yet.
"""

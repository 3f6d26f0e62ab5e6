"""The HTTP side of the simulator: from a request to its response, and webhooks.

`RequestPipeline` takes each request through the same steps: delay, rate limit, fault,
authorization, operation, delay. The operation itself is one function per row of
`endpoints.py`, in `handlers`. It calls the `World` and returns a `JsonResponse`, whose
body comes from `bodies` or `container`. `WebhookSender` posts the webhooks that the
world has scheduled.
"""

"""The HTTP part of the simulator: requests, responses and webhooks.

`RequestPipeline` processes each request in the same steps: delay, rate limit, fault,
authorization, operation, delay. `handlers` has one function per row of `endpoints.py`
for the operation itself; those on applications and versions are in `catalog`. Such a
function calls the `World` and returns a `JsonResponse`, with a body from `bodies` or
`container`. `form` changes it to the form of Edgegap's OpenAPI files, if that is chosen.
`WebhookSender` sends the webhooks that the world has scheduled.
"""

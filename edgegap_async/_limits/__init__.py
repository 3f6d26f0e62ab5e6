"""Limiters that keep the documented limits as the server counts them.

The server never counts more than N requests in any second, and the client still reaches
nearly the full rate.

A client-side token bucket set to 40/s can let 79 requests through in its first second:
it starts full and keeps refilling. An even pace alone is not enough either: with
jitter, paced requests arrive bunched. So each limit has three parts, in this order:

    queue     It has two priorities, each first come, first served. A retry keeps the
              place of its first attempt. The background gets at least one slot in ten.
    slots     They guarantee the limit: N slots for N requests per second. A slot comes
              back one period after the *answer* to its request. The server counted the
              request before it answered, so it never counts N + 1 in one second. The
              slot of a request that was given up comes back after the answer to one
              that was sent later: until then, it may still arrive (`doubt.py`).
    shaper    An aiolimiter bucket allows a short burst, then an even pace a little
              above the limit. The slots keep the limit itself.

With a long round trip, slots come back early by most of the shortest round trip so far
(`measurements.py`). The rate, N and the shaper adapt to the limit that is actually
enforced (`adaptive.py`).

All sessions of a process with the same token and base URL share one budget
(`registry.py`). Its slots (`slots.py`) are counted under one lock, on one clock
(`clock.py`). Each event loop has a queue and a shaper of its own (`limiter.py`). Slots
that come back go round the loops that wait.
"""

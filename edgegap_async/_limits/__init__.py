"""The documented limits hold at the server: no window of one second ever sees more than
N requests, at close to the full rate.

A client-side token bucket set to 40/s can let 79 requests through in its first second:
it starts full and keeps refilling. Even paced requests arrive bunched after jitter. So
each limit has three parts, in this order:

    queue     two priorities, first come, first served. A retry keeps the place of its
              first attempt. The background gets at least one slot in ten
    slots     the guarantee: N slots for N requests per second. A slot comes back one
              period after its *answer* arrived. The server had counted the request
              before it answered, so it never counts N + 1 in one second
    shaper    an aiolimiter bucket: a short burst, then an even pace a little above the
              limit, which the slots hold

Far from the server, a slot comes back early by most of the shortest round trip that was
seen. The rate, and with it N and the shaper, follows the limit that is actually enforced
(`adaptive.py`). Sessions with the same token and base URL share one budget
(`registry.py`).
"""

"""One call of the API, from its arguments to a struct or an error.

    client.Transport.call    builds the request
    attempts.Attempts.run    makes attempts:
      queue                  waits for a slot of the endpoint's limit, or raises
                             QueueTooLong at once if the deadline comes first
      permits.Permit         waits for a connection, if there is none: deploys and stops
                             have a part of them for themselves
      exchange.Exchange      sends the request once, and returns the slot
      unasked                drops connections on which something came while idle
      response.read          decodes the answer, or raises the error it stands for
      retry.RetryState       decides whether another attempt follows, and when

Each attempt takes a slot of its own and is one arrival at the server.

What happens on a 429, step by step:

1. `Exchange.run` gets the status with the headers. `_on_headers` parses and clamps a
   `Retry-After` and calls `Limiter.answered`, which returns the slot as for any answer
   and adapts the rate (`AdaptiveRate.refused`). Unless the refusal is sporadic, no call
   under this limit is sent before the end of the `Retry-After`. If many are refused
   within a second (`_limits/refusals.py`), a saturated limiter is held for up to 0.9 s
   even without one.
2. `response.read` raises `RateLimited`.
3. `Attempts.run` catches it and calls `_pause`, which asks `RetryState.pause` for the
   seconds until the next attempt. A refusal does not count as a try and costs nothing
   of the retry budget, as the API has done nothing. For a deploy, `_pause` reports it:
   `progress.failed` keeps the error for the caller, and `progress.retrying` stops the
   search for the tag and puts the record back to QUEUED. Only the 429 of a gateway may
   stand for a deploy that was done: its record stays as it is
   (`PendingDeploy._not_done`).
4. `_pause` sleeps for these seconds, at least for the `Retry-After`. Then `run` tries
   again: `_queue` waits for a slot, at the place in the queue that the call has had from
   its first attempt.

What the caller gets, if no attempt succeeds:

    DeadlineExceeded    The deadline passes during the retries. Its cause is the last
                        `RateLimited`.
    QueueTooLong        The next slot would come after the deadline. The same cause.
    RateLimited         There is no further attempt: the `Retry-After` ends after the
                        deadline, `Retry(tries=1)` turns retries off, or a call without a
                        deadline got nothing but 429s for a minute.
"""

"""One call of the API, from its arguments to a struct or an error.

    client.Transport.call    builds the request
      queue                  waits for a slot of the endpoint's limit, or raises
                             QueueTooLong at once if the deadline comes first
      exchange.Exchange      sends the request once, and returns the slot
      response.read          decodes the answer, or raises the error it stands for
      retry.RetryState       decides whether another attempt follows, and when

Each attempt takes a slot of its own and is one arrival at the server.

What happens on a 429:

1. `exchange` sees the status with the headers. It returns the slot as for any answer and
   reports the refusal to the limiter, which adapts its rate (`_limits/adaptive.py`).
   `Retry-After` is parsed and clamped here, once, and holds the limiter until then.
2. `response.read` raises `RateLimited`.
3. `RetryState` asks for another attempt: a refusal costs nothing, as nothing was done.
   The call goes back to its place in the queue. It ends at its deadline, or, without
   one, after a minute of nothing but refusals.
"""

"""The page at `/`, and the endpoints under `/_simulator/` that observe and change a running
simulator. None of them is part of the API. docs/simulator.md describes each of them.

    routes.py     the table of the endpoints, and how a request is processed
    guard.py      refuses requests that a web page of another origin has made
    call.py       a request, as the endpoints get it
    observe.py    the endpoints that read
    change.py     the endpoints that change something
    bodies.py     the JSON of deployments, limits and faults
    changes.py    what changed since the last look, for all clients of the events
    events.py     the server-sent events: clients, and the task that sends
    page.py       the files of the page

They need no token, and their requests do not count. No answer holds a token, a secret of
a webhook or the value of a hidden environment variable.
"""

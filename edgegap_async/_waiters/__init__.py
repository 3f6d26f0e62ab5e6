"""A thousand waiters cost a few requests per second in total: all waiters of a session
share one poller, which runs in the background while anybody waits.

How the next poll is chosen (`schedule.py`):

    one waiter      its status; if that is not available, lists too
    two or more     lists of those that are READY, with as many IDs as fit into a URL;
                    less often lists of those in ERROR, and of those that exist
    out of turn     the status of one: after a webhook or a stop, if no list shows it,
                    and now and then until a list has shown anything

Each is polled a quarter of a second after its last poll began, and less often the longer
it takes. A list filter is trusted only while it shows what a status shows
(`filter_health.py`); else pages are read newest first. Webhooks resolve waiters at once,
and make polls rarer while they arrive (`recent_events.py`).
"""

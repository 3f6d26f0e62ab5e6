"""Waiting for deployments: one poller per session serves all waiters.

A thousand waiters cost a few requests per second in total. A waiter is a deployment: any
number of callers may wait for it. The poller runs in the background while there are
waiters (`poll_loop.py`).

`watcher.py` decides which kind of poll is next for those that wait for READY (`plan`:
status polls, lists or pages of all deployments; `_next_list`: which kind of list).
`schedule.py` decides which deployments it is for. `poller.py` sends it, and `outcomes.py`
says what its answer means. The rules:

    one waiter for READY   The poller polls its status. If the status is not available,
                           it also polls lists.
    two or more            The poller lists which of their deployments are READY, with as
                           many IDs as fit into a URL. Less often it lists which are in
                           ERROR, and which exist.
    out of turn            The poller polls a single status after a webhook or a stop, or
                           if no list shows the deployment. Until a list has shown any
                           deployment, it also polls a status now and then.
    lists fail             After three failures in a row, it polls each status, and lists
                           every two seconds.

The first poll of a deployment of this session is due after most of the shortest recent
time to READY. The next poll of a waiter is due a quarter of a second after its last one
began, and later the longer it waits.

The poller trusts the list filters only while lists show the deployments whose statuses
are READY (`filter_health.py`). Otherwise it reads pages of all deployments, newest
first.

`end_watcher.py` does the same for those that wait for an end, by lists that count
(`end_lists.py`).

Webhooks resolve waiters at once. While they arrive, polls are less frequent
(`recent_events.py`).
"""

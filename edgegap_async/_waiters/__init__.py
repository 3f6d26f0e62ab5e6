"""Waiting for deployments: one poller per session serves all waiters.

A waiter is a deployment that callers wait for, to become READY or to be gone. However
many callers wait for the same, it is one waiter (`schedule.Waiter`). A thousand waiters
cost a few requests per second in total. The poller runs in the background while
there are waiters.

`watcher.py` decides which kind of poll is next (`_plan`: status polls, lists or pages of
all deployments; `_next_list`: which kind of list). `schedule.py` decides which
deployments it is for. `poller.py` sends it. The rules:

    one waiter for READY
                    The poller polls its status. If the status is not available, it also
                    polls lists.
    two or more waiters for READY
                    The poller lists which of their deployments are READY, with as many
                    IDs as fit into a URL. Less often it lists which are in ERROR, and
                    which exist.
    waiters for the end (`wait_until_stopped`)
                    The poller polls the status of each.
    out of turn     The poller polls a single status after a webhook or a stop, or if no
                    list shows the deployment. Until a list has shown any deployment, it
                    also polls a status now and then.

    lists fail      After three failed lists in a row, the poller polls the status of each
                    waiter, and tries one list every 2 s until a list is answered.

The first poll of a waiter for READY whose deploy this session has sent is delayed: an
earlier one would find nothing. It is due after 80 % of the shortest recent time from the
acceptance to READY, but at the latest 2 s after the acceptance. All other first polls are
due at once. The next poll of a waiter is due a quarter of a second after its last one
began, and later the longer it waits.

The poller trusts the list filters only while lists show the deployments whose statuses
are READY (`filter_health.py`). Otherwise it reads pages of all deployments, newest
first.

Webhooks resolve waiters at once. While they arrive, polls are less frequent
(`recent_events.py`).
"""

"""The life of a deploy: the session is responsible for a server until a caller has it.

The session, not the caller, runs each deploy: `DeployManager._run` is a task of its own.
`state.py` has the states and the table of transitions, and every part below reads it:

QUEUED     the caller leaves: cancelled, nothing was started (`DeployManager._abandon`)
SENDING    the caller leaves: its tag is searched for at once, and the request goes on
           (`PendingDeploy.search_beside`). No answer for 3 s: the same, for the caller
SEARCHING  `TagSearch` looks for the deploy's tag in lists. Found: that is the answer.
           Absent: deployed again under a new tag, and the old one is watched.
           Inconclusive: UNKNOWN
ACCEPTED   the caller gets the server (RELEASED), or the session keeps the responsibility
           (LEASED, `leases.py`) for a block, or until the next outcome is asked for. The
           tag is looked at once more: a proxy may have sent the deploy twice
STOPPING   `Stopper` stops the server. "Not found" ends that only if `Existence` believes
           it
UNKNOWN    `DeployOutcomeUnknown`. The tag is in quarantine: what turns up is stopped,
           unless the caller claims it

At the end of the session `DeployManager.aclose` stops what is due for `cleanup_timeout`;
the rest is in `leftovers`. `records.py` has one record per deployment, and `batch.py` is
`deploy_many`.
"""

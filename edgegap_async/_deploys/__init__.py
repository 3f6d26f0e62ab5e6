"""The life of a deploy: the session is responsible for a server until a caller has it.

The parts of a session:

DeployManager    makes the other parts, and is what `resources/` calls
DeployRunner     runs the deploys, and decides what happens if a caller leaves
BackgroundWork   stops servers that nobody uses (`Stopper`), and searches for the tags of
                 lost deploys (`TagSearch`), whether callers wait or not
Leases           end blocks, and stop their servers
Closing          closes the session: waits at most `cleanup_timeout` for deploys, stops and
                 searches, then cancels them
Leftovers        report what may still be running then

The session, not the caller, runs each deploy: `DeployRunner._run` is a task of its own.
`_records/state.py` has the states and the table of transitions, and every part reads it:

QUEUED     waits for a slot or for capacity
SENDING    its request is under way, or it is sent again under the same tag, after a
           gateway has refused it. No answer for 3 s: its tag is searched for while the
           request goes on (`PendingDeploy.search_beside`)
SEARCHING  `TagSearch` looks for the deploy's tag in lists, and `tag_lists.py` judges
           what a list proves, with the tags that `row_tags.py` finds out. Found: that is
           the answer. Absent: deployed again under a new tag, and the old one is watched.
           Inconclusive: UNKNOWN
ACCEPTED   the caller gets the server (RELEASED), or the session keeps the responsibility
           (LEASED, `leases.py`) for a block, or until the next outcome is asked for. The
           tag is looked at once more: a proxy may have sent the deploy twice
STOPPING   `Stopper` stops the server. "Not found" ends that only if `Existence` believes
           it
UNKNOWN    `DeployOutcomeUnknown`. The tag is in quarantine: for five minutes, lists are
           searched for it, and a server that turns up under it is stopped, unless the
           caller claims it

If the caller leaves (it is cancelled, or its deadline has passed),
`DeployRunner._abandon` decides by the state:

QUEUED     CANCELLED: nothing was started
SENDING    no byte of the body was written: the attempt is given up, and nothing is
           searched for (CANCELLED). Otherwise SEARCHING at once: the request goes on,
           and if it started a server, that is stopped
SEARCHING  goes on without the caller: a server that is found is stopped
LEASED or  the deploy has ended in the same turn of the loop: its server is stopped
RELEASED   (STOPPING). A deploy that has failed by then stays as it is

With `deploy_once=False` there is no tag to search for. If the caller leaves while it is
SENDING, it stays so: the request goes on, and a server that its answer names is stopped.
Without a usable answer it is FAILED, and nobody finds out whether a server was started:
`leftovers` has (None, None).

A deploy that ends in another way, as its task is cancelled or a callback of the user has
raised, is SEARCHING without a caller. So is one that a gateway has refused, as it may be
done all the same: an answer in another form than the API's, or a 404 to the first path.

`batch.py` is `deploy_many`, `batch_plan.py` checks its arguments, and `handled.py` knows
which task handles which of its outcomes.

With `shared=`, `journal.py` is told of each transition, and keeps what the session is
responsible for in a store. If another process takes it over, as this one was paused, a
deploy in any state is DISOWNED: it is neither handed out nor stopped here. `relay.py`
passes webhooks on to the process that has sent the deploy.
"""

"""The life of a deploy: it is owned by the session until the caller has its server.

The session, not the caller, runs each deploy. A caller that is cancelled or times out
leaves no server behind: the session stops it as soon as its request_id is known.

queued       caller leaves: cancelled, nothing was started
sent         caller leaves: the request goes on, and its server is stopped
unknown      no answer came: `TagSearch` looks for the deploy's own tag. Found: that is
             the answer. Absent: deployed again under a new tag, the old one in
             quarantine. Inconclusive: `DeployOutcomeUnknown`, never a second deploy
accepted     handed to the caller, or held by a `Lease` while a block lasts
session ends `Stopper` stops what is due for `cleanup_timeout`; the rest is named in
             `leftovers`
"""

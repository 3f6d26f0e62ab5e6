"""The store of a shared budget in memory, on a clock of its own."""

from edgegap_async._shared.beat import Commit, Posted, Seen
from edgegap_async._shared.messages import Received, Report


class MemoryBudget:
    """An inbox and a state, as `_shared/beat.py` needs them. The caller sets `clock`."""

    def __init__(self, clock: float = 1_790_000_000.0) -> None:
        self.clock = clock
        self.flushes = 0
        self.operations = 0
        self.flush()

    def flush(self) -> None:
        """Lose everything."""
        self.flushes += 1
        self.commits = self.number = 0
        self.state: bytes | None = None
        self.inbox: dict[str, Posted] = {}

    def evict_inbox(self) -> None:
        self.inbox = {}

    @property
    def version(self) -> bytes:
        return b"%d %d" % (self.flushes, self.commits)

    def look(self) -> Seen:
        return Seen(self.version, self.state, self.clock, dict(self.inbox))

    def post(self, report: Report) -> Seen:
        self.operations += 1
        old = self.inbox.get(report.tenant)
        if old is None or old.received.report.sequence < report.sequence:
            self.number += 1
            self.inbox[report.tenant] = Posted(
                self.number, Received(report, self.clock)
            )
        return self.look()

    def commit(self, commit: Commit) -> Seen | None:
        self.operations += 1
        if commit.version != self.version:
            return self.look()
        self.commits += 1
        self.state = commit.state
        for tenant, number in commit.folded.items():
            if tenant in self.inbox and self.inbox[tenant].number == number:
                del self.inbox[tenant]
        return None

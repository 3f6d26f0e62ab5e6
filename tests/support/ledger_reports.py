"""Reports by hand, for the tests of the shared ledger."""

from typing import Any

from edgegap_async._shared.ledger import LISTEN, step
from edgegap_async._shared.messages import LimitReport, Received, Report
from edgegap_async._shared.state import LimitState, Share, State

NAME = "deploy"
LEASE = 5.0
# Seconds of the longest doubt, and for which a token cools.
DOUBT, PERIOD = 0.25, 1.002
HOT = PERIOD + DOUBT


class Ledger:
    """A ledger, and a store's clock that the test moves."""

    def __init__(self, rate: float = 40, *, listened: bool = True) -> None:
        self.rate, self.clock = float(rate), 1000.0
        self.state: State | None = None
        self.sequences: dict[str, int] = {}
        if listened:
            # Somebody was there, and is gone again.
            self.beat("first", lease_left=None)
            self.pass_time(LISTEN + 0.1)
            self.beat("first")
            self.beat("first", bye=True)
            # All tokens have been made, and are cool.
            self.clock += 60

    def pass_time(self, seconds: float) -> None:
        """Let time pass as it does while tenants beat."""
        while seconds > 0:
            self.clock += min(seconds, 0.5)
            seconds -= 0.5
            self.fold()

    @property
    def limit(self) -> LimitState:
        assert self.state is not None
        return self.state.limits[NAME]

    def share(self, tenant: str) -> Share:
        assert self.state is not None
        return self.state.tenants[tenant].shares[NAME]

    @property
    def owned(self) -> dict[str, int]:
        assert self.state is not None
        return {key: share.owned for key, share in self.state.shares(NAME).items()}

    @property
    def cools(self) -> list[float]:
        """In how long each token of the pool is cool."""
        assert self.state is not None
        return [round(max(0, cool - self.state.at), 6) for cool in self.limit.pool]

    def report(
        self,
        tenant: str,
        *,
        sequence: int | None = None,
        lease_left: float | None = 3.0,
        lease: float = LEASE,
        bye: bool = False,
        limits: tuple[str, ...] = (NAME,),
        **told: Any,
    ) -> Report:
        number = self.sequences.get(tenant, 0) + 1 if sequence is None else sequence
        self.sequences[tenant] = max(number, self.sequences.get(tenant, 0))
        told = {"rate": self.rate, "doubt": DOUBT, **told}
        limit = LimitReport(**told)
        return Report(
            tenant, number, lease, lease_left, dict.fromkeys(limits, limit), bye
        )

    def fold(self, *reports: Report, at: float | None = None) -> Any:
        """Fold reports, which arrived now or at a time of the store's clock."""
        arrived = self.clock if at is None else at
        received = [Received(report, arrived) for report in reports]
        self.state, replies = step(self.state, received, self.clock)
        return replies

    def beat(self, tenant: str, **told: Any) -> Any:
        """Fold one report. Return the reply about the limit; `keeps` is what the ledger
        thinks, unless it is told.
        """
        if self.state and tenant in self.state.tenants and "keeps" not in told:
            told["keeps"] = self.share(tenant).owned
        report = self.report(tenant, **told)
        reply = self.fold(report).get(tenant)
        return reply and reply.limits[NAME]

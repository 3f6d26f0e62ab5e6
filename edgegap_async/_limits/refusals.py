"""Tells a sporadic 429 from one that shows a limit. No I/O, and no clock.

Each answer near the known limit is a piece of *evidence*: a refusal speaks for a limit,
an admitted request against it, each by the logarithm of how much more probable it is
with a limit than without one (a sequential probability ratio test). A share of sporadic
refusals is expected. It is learned where the limit can't be the cause: at a rate that
is clearly below what was admitted in a second, or at the documented limit as long as
the evidence goes back to 0.
"""

from math import log, sqrt
from typing import NamedTuple

from msgspec import Struct

# The share of refusals is larger by this just above a limit than just below it. With
# 25 slots and a limit of 24, one request in 25 is refused.
SURPLUS = 0.04
# The evidence for a limit that is believed. Two refusals within about thirty answers
# have that weight if hardly any are sporadic.
EVIDENCE = 4.5
# Near the documented limit, a lower one is improbable: one more refusal is needed.
EVIDENCE_NEAR_FULL = 6.5
# The weight of having found the same limit before: one refusal is then enough.
FOUND_BEFORE = 3.2
# With a larger share of sporadic refusals, one refusal is no sign of that limit.
OFTEN = 0.02
# The share of sporadic refusals before anything is known, and how many answers this
# belief is worth. Then the bounds of what is believed.
PRIOR, PRIOR_ANSWERS = 1 / 300, 120.0
LEAST, MOST = 0.002, 0.05
# Clearly below the limit, the share of sporadic refusals is being learned. So the test
# assumes a large one there (LOOK_SPORADIC), and only the share of LOOK_LIMITED, which is
# much larger, shows that the limit is lower still.
LOOK_SPORADIC, LOOK_LIMITED = 0.04, 0.12
# Answers after which older ones count half: the share may change.
MEMORY = 2000.0
# Answers after which the share is known.
ENOUGH = 280.0
# Refusals in a second are many if they are at least MANY, and more than MANY_SHARE of all
# answers plus what chance makes of the sporadic ones (DEVIATIONS standard deviations).
MANY, MANY_SHARE, DEVIATIONS = 3, 0.12, 4.0


class Lately(NamedTuple):
    """What the server answered in the last second.

    Attributes:
        admitted, refused: how many requests.
        span: seconds since the first of the admitted ones.
        peak: the most that were admitted in a second, in the few seconds before the
            latest of them.
    """

    admitted: float
    refused: float
    span: float
    peak: float


class Refusals(Struct):
    """What is known about refusals. It is plain data, which a shared ledger can store.

    Attributes:
        answers, refused: counts of the answers where a limit was not the cause.
        looked, looked_refused: the same, since the last cut of the rate. They are
            believed if the limit turns out to be higher.
        evidence: the evidence for a limit at the present rate.
        learned: how many answers below a limit were believed.
        tried, tried_refused: counts of the answers at the documented limit, since the
            evidence was last 0. They are believed when it is 0 again: the rate can't
            grow there, so it is as good as no limit.
    """

    answers: float = 0.0
    refused: float = 0.0
    looked: float = 0.0
    looked_refused: float = 0.0
    evidence: float = 0.0
    learned: float = 0.0
    tried: float = 0.0
    tried_refused: float = 0.0

    @property
    def sporadic(self) -> float:
        """The share of requests that are refused for no reason of ours."""
        answers = self.answers + self.looked + PRIOR_ANSWERS
        refused = self.refused + self.looked_refused + PRIOR * PRIOR_ANSWERS
        return min(MOST, max(LEAST, refused / answers))

    @property
    def known(self) -> bool:
        """Whether there were enough answers to know the share.

        Those at the documented limit don't count. They show too small a share, as the
        evidence seldom becomes 0 while there are many refusals.
        """
        return self.learned >= ENOUGH

    def add(self, *, refused: bool, below: bool, full: bool) -> None:
        """Add an answer.

        Args:
            refused: whether it is a 429.
            below: whether its rate was clearly below the known limit.
            full: whether its rate was the documented limit.
        """
        if below:
            self.looked += 1
            self.looked_refused += refused
            sporadic, limited = LOOK_SPORADIC, LOOK_LIMITED
        else:
            sporadic = self.sporadic
            limited = sporadic + SURPLUS
        odds = limited / sporadic if refused else (1 - limited) / (1 - sporadic)
        self.evidence = max(0.0, self.evidence + log(odds))
        if full:
            self.tried += 1
            self.tried_refused += refused
            if not self.evidence:
                self._believe(self.tried, self.tried_refused)
                self.tried = self.tried_refused = 0.0

    def shows_limit(self, *, near_full: bool, found_before: bool) -> bool:
        """Return whether there is a limit at the present rate.

        Args:
            near_full: whether that is nearly the documented limit.
            found_before: whether the same limit was found before.
        """
        evidence = self.evidence
        if found_before:
            evidence += FOUND_BEFORE * max(0.0, 1 - self.sporadic / OFTEN)
        return evidence >= (EVIDENCE_NEAR_FULL if near_full else EVIDENCE)

    def believe(self) -> None:
        """Count what was seen since the last cut: the limit was not the cause."""
        self.learned += self.looked
        self._believe(self.looked, self.looked_refused)
        self.looked = self.looked_refused = 0.0

    def _believe(self, answers: float, refused: float) -> None:
        self.answers += answers
        self.refused += refused
        if self.answers > MEMORY:
            self.answers /= 2
            self.refused /= 2

    def start_again(self) -> None:
        """Forget what was seen since the last cut."""
        self.looked = self.looked_refused = self.evidence = 0.0
        self.tried = self.tried_refused = 0.0

    def many(self, lately: Lately) -> bool:
        """Return whether so many were refused in a second that the limit has dropped."""
        answers = lately.admitted + lately.refused
        chance = DEVIATIONS * sqrt(self.sporadic * answers)
        return lately.refused >= MANY and lately.refused > MANY_SHARE * answers + chance

    def is_alone(self, lately: Lately) -> bool:
        """Return whether the refusals of the last second are no more than chance makes of
        the sporadic ones.
        """
        answers = lately.admitted + lately.refused
        return lately.refused <= 1 + DEVIATIONS * sqrt(self.sporadic * answers)

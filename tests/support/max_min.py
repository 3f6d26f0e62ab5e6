"""Max-min fairness as its definition says, to compare with."""

from collections.abc import Mapping


def fair_share(wants: Mapping[str, float], amount: float) -> dict[str, float]:
    """All get the same, but nobody more than it wants: pour in drops."""
    gets = dict.fromkeys(wants, 0.0)
    while amount > 1e-9:
        hungry = [name for name in wants if gets[name] < wants[name] - 1e-9]
        if not hungry:
            break
        drop = min(amount / len(hungry), *(wants[name] - gets[name] for name in hungry))
        for name in hungry:
            gets[name] += drop
        amount -= drop * len(hungry)
    return gets

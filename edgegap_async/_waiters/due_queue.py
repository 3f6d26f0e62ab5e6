"""A queue of things that are due at a time each."""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
# Replaced entries stay in the heap. It is cleaned when it has more than twice as many
# entries as are valid, and this many.
SPARE = 64


class DueQueue(Generic[T]):
    """Each item is in the queue once, and has a time at which it is due.

    Adding, removing and taking the first one cost the logarithm of their number, so an
    event costs the same with a thousand items as with a hundred thousand.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._entries: dict[T, tuple[float, int, T]] = {}
        # Of two that are due at the same time, the one that was added first.
        self._order = count()

    def __contains__(self, item: T) -> bool:
        return item in self._entries

    def put(self, item: T, due: float) -> None:
        """Add an item, or change when it is due."""
        entry = self._entries[item] = due, next(self._order), item
        heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + SPARE:
            self._heap = list(self._entries.values())
            heapify(self._heap)

    def discard(self, item: T) -> None:
        """Remove an item, if it is there."""
        self._entries.pop(item, None)

    def first_due(self) -> float:
        """When the first item is due; infinity: there is none."""
        first = self._first()
        return first[0] if first else inf

    def first(self) -> T | None:
        """The item that is due first."""
        entry = self._first()
        return entry[2] if entry else None

    def pop(self) -> T:
        """Remove the item that is due first, and return it. It must not be empty."""
        self._first()
        item = heappop(self._heap)[2]
        del self._entries[item]
        return item

    def _first(self) -> tuple[float, int, T] | None:
        heap, entries = self._heap, self._entries
        while heap:
            if entries.get(heap[0][2]) is heap[0]:
                return heap[0]
            heappop(heap)
        return None

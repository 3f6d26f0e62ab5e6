"""What all stores have in common."""

# Seconds for one round trip to a store, and for its connection.
ROUND_TRIP, CONNECT = 1.0, 2.0


class StoreError(Exception):
    """Work with a store has failed. Its text says why, and holds no secret."""

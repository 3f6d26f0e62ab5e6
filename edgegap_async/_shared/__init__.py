"""What the processes of one organization share, in a store: SQLite, Redis or Valkey.

config        `SharedState`, the value that users write
stores        opens stores, one per process; after a fork, the child opens its own
thread        runs all work with a store, as a blocked event loop must not hold it up
store_sqlite  one file, for the processes of one machine
store_redis   scripts in Redis or Valkey, for many machines
machine       which machine this is, and which file systems can't be used
"""

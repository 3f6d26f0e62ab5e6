"""What the processes of one organization share, in a store: SQLite, Redis or Valkey.

    config         `SharedState`, the value that users write
    stores         opens stores, one per process; the child of a fork opens its own
    thread         runs all work with a store, as a blocked loop must not hold it up
    store_sqlite   one file, for the processes of one machine
    store_redis    scripts in Redis or Valkey, for many machines
    machine        which machine this is, and which file systems can't be used

The journal: what each session is responsible for, so that another one can do what is due
if its process dies.

    entries        what is stored of a deploy, a server or a tag
    owners         who answers for which entries: leases and claims, pure
    journal_store  both in each store
    ownership      one session as an owner: it renews, writes and claims
    listing        what is open, for operators
"""

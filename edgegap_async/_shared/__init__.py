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

The relay: webhooks that another process has received.

    relay_messages  signed messages, pure
    relay_store     how they get from one process to the others, in each store

One budget: each limit of the organization holds for all of its processes. A limit of N
per second has N *tokens*: the slots of `_limits/`, spread over processes. A process, here
a *tenant*, runs the limiter it would run alone, over the tokens it owns. A *ledger* in
the store keeps who owns how many, and moves tokens to tenants with a queue. A few times a
second, each tenant sends a report and receives a reply: a *beat*. No call waits for one.

The guarantee: the server never counts more than N requests in any second.

    one owner    Tenants and pool together never have more than N tokens. A tenant owns
                 tokens for a lease. It stops using them before the lease ends; only
                 then does the ledger take them back.
    cooling      After a use, a token cools for one period from the answer on. A token
                 that is given back says how long it still has to cool, and cools in
                 the pool and at its next owner. So two uses of one token are a period
                 apart, whoever makes them.
    durations    Machines share no clock. All times in a message are durations. The
                 sender computes them before it sends, and the receiver counts from the
                 arrival, so each error makes a time later, which is safe.
    doubt        If the history of a token is unknown, it is *hot*: it cools for a
                 period and for the longest time that a request may be on its way.

What can fail, and how many requests may then arrive in a second:

    N            a process is killed, or stopped for any time; a blocked loop; the store is
                 slow, frozen, flushed or comes back empty; its clock is set
    the          the store is gone for longer than a lease: N / 2 by default. With more
    fallbacks    processes than tokens, that is the average
    N and its    a process is cut off from the store, and others are not
    fallback
    N and their  processes start or wake up just after the store is gone, while others
    fallbacks    still use their leases: for at most a lease and a second
    N and what   the store comes back with old data: for at most a beat and a second; or its
    moved        clock is set forward by less than a second: for a second
    2 N          the store is flushed while the only process with a lease is stopped or cut
                 off, and a new one starts: until that lease ends, at most 2.25 s

    messages      reports and replies
    state         what the ledger knows, as bytes and as structs
    clock         the ledger's own clock, which passes only as far as it is certain
    shared_rate   the adaptive rate, over the sum of what all tenants sent
    tokens        keep, give, mint, destroy, take
    goals         how many tokens each tenant should own: max-min fairness
    ledger        `step`: the rules in their order
    lease         when a tenant may use its tokens, and its fallback
    leased_slots  the slots of one limit, over the tokens that this process owns
    tenant        the beats of this process
    beat          one beat over an inbox and compare-and-set
    budget_store  the ledger in each store
    budget        drives the beats
    limit_listing how the limits are used, for operators

Up to `beat`, nothing waits, reads a clock or does I/O.
"""

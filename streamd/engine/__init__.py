"""The engine: batches through a fused chain into slots, acked by epochs. Knows no plugin.

One event's way:
    source_runner   polls a source, hands its batches in, holds still while the pipeline is full
    intake          what all sources share: the chain, the cut between two batches, the budget
    chain           decode and every step over a batch, in one task; `single` feeds a suspected step
    preparation     holds events back until their codec is ready for them
    slot            a sink's queue, and the task that writes
Its acknowledgement:
    ledger          epochs, and which of their events are done
    checkpoint      store, then settle with whoever waits; `store` is the file
    committer       commits what is durable, at the pace of its source
    assignment      partitions that come and go, and whose state is true
What fails:
    failure         acts on a batch until every row of it is done, by the stage's policies
    suspects        what is known of steps with state that fail
    undelivered     where rows go that are not stored as they came
    dead_letter     the document of such a row, of `plain` values; `spill` is the last resort
    frames          what an error holds on to, and lets go of once it has been dealt with
A pipeline's life:
    supervisor      keeps one alive: starts it, and again when it fails
    pipeline        one life: open, run, drain; `keeper` holds its stages open, `guard` its tasks
    build           a life put together: the `plan`, the `stages` as objects, the `wiring`
    reload          another version put in its place between two batches, in steps (`phase`),
                    with its state (`handover`); `forecast` tells what that would do
    replay          dead letters let in again: `revival` makes batches of them, `returns` knows
                    which are under way; `backlog` counts them
What is seen of it:
    status, drawing what it tells of itself, and its graph
    tap             events as they leave a stage: `tap_limits` which ones, `sight` what of them
Clockwork:
    signal          waking one task from another
    turns           whose turn it is with the chain and the state of its steps
    active_time     the time in which steps may be idle
"""

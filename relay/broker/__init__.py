"""Who runs where: the decisions, and nothing but them.

`Broker.handle(event, now)` returns the actions that a shell performs (`relay.brokerd`), journal
records first; of many events that came together `decide` and one `conclude` do the same. No I/O, no
clock, no randomness in here: whole days are tested in milliseconds.

Read in this order: `states` (a job's life), `model` (what is remembered), `events` (what comes in,
what goes out), `core` (the dispatch), `books` (all that one broker knows), `markets` (who waits and
who has room, as tables), `queue` (who is next), `choose` and `matching` (where), `holds` and
`backfill` (co-allocations, and who may pass whom), `fairshare`, `retry`, `after`, `places` (a place
while one has it), `why` and `instead` (what who waits is told), `joins` (data connections),
`reports` (what agents say), `parts` (a job ends with its last one), `verbs` (what clients ask),
`ends` (what ends, and what ends with it), `feed` (who watches, and what is told), `archiving` (what
is kept of what has ended), `views` (what they are shown).

Batch systems: `wants` (what a job says it needs), `sitemodel` (what is remembered of sites and
pilots), `sites`, `submitters`, `pilots` (who says what, what is told to whom), `supply` (what
waiting jobs can count on), `autoscale` (how many pilots there should be), `outlook` (what who waits
is told).
"""

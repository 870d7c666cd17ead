"""Job descriptions: the ClassAd language of gLite and int.eu.grid, read with positions.

Read in this order: `tokens` and `parse` (text to values that know where they stand), `syntax` (the
values, and how they are written), `attributes` (what a job description may say), `job` (what it
means: a checked `Description`), `words`, `geometry`, `sandbox` and `nodes` (its harder parts),
`steps` (what is asked of the relay). Beside them `eval`, the only module that knows a library for
expressions, with `matching` (what the broker is given) and `glue` (the names under which agents and
sites are known in requirements).
"""

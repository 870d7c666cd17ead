"""The process that strangers reach: it accepts, tells connections apart, pairs and copies.

It knows no job and reads no session's byte. `listener` takes connections and looks at their first
bytes, `control` terminates TLS for JSON messages, `meet` checks preambles and brings client and
spare together, `splice` copies between the two, `viewers` passes events on to who watches, `tally`
counts, `main` ties them to the bus. It keeps nothing worth saving: when it dies, everybody dials
again.
"""

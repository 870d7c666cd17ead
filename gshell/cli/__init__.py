"""The command line: what was typed, read by table, and the verbs that answer."""

"""Doing a recorded session again, against something alive, and judging the result.

REPLAY.md is the language and the rules; `script` has the values that its readers make.
"""

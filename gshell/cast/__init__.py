"""Recordings: asciicast of all versions and their neighbours, read, written and converted.

CAST.md says what is kept how. The format itself is pure; players and files are around it.
"""

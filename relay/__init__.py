"""The server everyone connects out to. Knows no terminal, and reads no session's bytes."""

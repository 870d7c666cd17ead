"""What a relay must not forget, in SQLite: jobs, agents, used nonces, invites, credentials.

Records are JSON by key, newest wins, written before the action they are about. Decides nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from typing import Any, NamedTuple

from gshell.errors import GshellError

_VERSION = 2  # of the tables; another number is another relay's
_TABLES = """
CREATE TABLE IF NOT EXISTS job (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS agent (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nonce (key TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonce_until ON nonce (until);
CREATE TABLE IF NOT EXISTS invite (hash TEXT PRIMARY KEY, user TEXT NOT NULL, role TEXT NOT NULL,
    uses INTEGER NOT NULL, until REAL NOT NULL, made REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS credential (serial TEXT PRIMARY KEY, kind TEXT NOT NULL,
    user TEXT NOT NULL, agent_id TEXT NOT NULL, made REAL NOT NULL, revoked REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS share (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS user (name TEXT PRIMARY KEY, role TEXT NOT NULL, groups TEXT NOT NULL,
    made REAL NOT NULL, revoked REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claim (hash TEXT NOT NULL, node INTEGER NOT NULL,
    restart INTEGER NOT NULL, agent_id TEXT NOT NULL, made REAL NOT NULL,
    PRIMARY KEY (hash, node, restart)) WITHOUT ROWID;
"""
_RECORDS = ("job", "agent", "share", "meta")


class Credential(NamedTuple):
    serial: str
    kind: str
    user: str
    agent_id: str


class Journal:
    """One open journal. Between ``begin`` and ``commit`` everything is kept or nothing."""

    def __init__(self, path: str) -> None:
        """
        Raises:
            GshellError: it cannot be read, or is not a journal of ours.
        """
        self.path = path
        self._credentials: dict[str, Credential | None] = {}
        try:
            if not os.path.lexists(path):  # SQLite would take the umask's word for the mode
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")  # a crash of ours loses nothing
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise GshellError(
                    f"{path} was written by another version of gshell ({version})",
                    hint="update gshell, or start with a new state directory: --state DIR",
                )
            if version < _VERSION:  # a version only adds tables
                self._db.executescript(_TABLES)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
        except FileExistsError:
            raise self._damaged("it was made by somebody else just now") from None
        except (sqlite3.Error, OSError) as error:
            raise self._damaged(error) from None

    def close(self) -> None:
        self._db.close()

    def _damaged(self, error: object) -> GshellError:
        return GshellError(
            f"the journal {self.path} cannot be read: {error}",
            hint="move it away, or start with a new state directory: --state DIR",
        )

    def begin(self) -> None:
        self._db.execute("BEGIN")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    # -------------------------------------------------------------------------------------- records

    def put(self, table: str, key: str, value: dict[str, Any] | None) -> None:
        assert table in _RECORDS
        if value is None:
            self._db.execute(f"DELETE FROM {table} WHERE key=?", (key,))  # noqa: S608
        else:
            text = json.dumps(value, separators=(",", ":"))
            self._db.execute(f"REPLACE INTO {table} VALUES (?,?)", (key, text))  # noqa: S608

    def records(self, table: str) -> list[dict[str, Any]]:
        """
        Raises:
            GshellError: damaged.
        """
        assert table in _RECORDS
        try:
            rows = self._db.execute(f"SELECT value FROM {table}")  # noqa: S608
            return [json.loads(text) for (text,) in rows]
        except (sqlite3.Error, ValueError) as error:
            raise self._damaged(error) from None

    def next_id(self) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE key='next_id'").fetchone()
        return int(json.loads(row[0])["value"]) if row else 1

    # --------------------------------------------------------------------------------------- nonces

    def burn(self, nonce: str, until: float) -> bool:
        """Mark a nonce as used; False if it was already."""
        done = self._db.execute("INSERT OR IGNORE INTO nonce VALUES (?,?)", (nonce, until))
        return done.rowcount == 1

    def forget_nonces(self, now: float) -> None:
        self._db.execute("DELETE FROM nonce WHERE until < ?", (now,))

    # ------------------------------------------------------------------------- invites, credentials

    def add_invite(
        self, hash: str, user: str, role: str, uses: int, until: float, now: float
    ) -> None:
        self._db.execute(
            "INSERT INTO invite VALUES (?,?,?,?,?,?)", (hash, user, role, uses, until, now)
        )
        self._db.execute("DELETE FROM invite WHERE until < ? OR uses < 1", (now,))

    def use_invite(self, hash: str, role: str, now: float) -> str | None:
        """The user an invite is for, one use less; None if it is not good for ``role``."""
        row = self._db.execute(
            "UPDATE invite SET uses = uses - 1 WHERE hash=? AND uses > 0 AND until >= ? "
            "AND role IN ('any', ?) RETURNING user",
            (hash, now, role),
        ).fetchone()
        return row[0] if row else None

    def add_credential(self, credential: Credential, now: float) -> None:
        self._db.execute("INSERT INTO credential VALUES (?,?,?,?,?,NULL)", (*credential, now))
        self._credentials.pop(credential.serial, None)

    def credential(self, serial: str) -> Credential | None:
        """None if unknown or withdrawn."""
        if serial not in self._credentials:
            if len(self._credentials) > 10_000:
                self._credentials.clear()
            row = self._db.execute(
                "SELECT serial, kind, user, agent_id FROM credential "
                "WHERE serial=? AND revoked IS NULL",
                (serial,),
            ).fetchone()
            if row is None:
                return None  # not remembered: another process may be adding it now
            self._credentials[serial] = Credential(*row)
        return self._credentials[serial]

    def forget_guests(self, prefix: str, before: float) -> None:
        """Guests of shares that ended long ago: their certificates are dead by themselves."""
        self._db.execute(
            "DELETE FROM credential WHERE substr(user, 1, ?)=? AND made < ?",
            (len(prefix), prefix, before),
        )

    def groups(self) -> dict[str, frozenset[str]]:
        """user -> groups, of all who are in one."""
        rows = self._db.execute("SELECT name, groups FROM user WHERE revoked IS NULL")
        return {name: frozenset(json.loads(text)) for name, text in rows if text not in ("", "[]")}

    def agent_owner(self, agent_id: str) -> str | None:
        """The user that an agent's name was given to, if to any."""
        row = self._db.execute(
            "SELECT user FROM credential WHERE kind='agent' AND agent_id=?", (agent_id,)
        ).fetchone()
        return row[0] if row else None

    def revoke(self, serial: str, now: float) -> bool:
        done = self._db.execute(
            "UPDATE credential SET revoked=? WHERE serial=? AND revoked IS NULL", (now, serial)
        )
        self._credentials.pop(serial, None)
        return done.rowcount == 1

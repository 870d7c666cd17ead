"""What a relay must not forget, in SQLite: jobs, agents, used nonces, invites, credentials.

Records are JSON by key, newest wins, written before the action they are about. Decides nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from gshell.errors import GshellError

_VERSION = 4  # of the tables; another number is another relay's
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
CREATE TABLE IF NOT EXISTS pilot (hash TEXT PRIMARY KEY, name TEXT NOT NULL,
    nodes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (serial TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS boots (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS site (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS credential_user ON credential (user);
CREATE INDEX IF NOT EXISTS credential_agent ON credential (agent_id);
"""
# Until then whoever had credentials was a user, and there was no list of them.
_ADOPT = """
INSERT OR IGNORE INTO user SELECT user, 'user', '[]', MIN(made), NULL FROM credential GROUP BY user;
INSERT OR IGNORE INTO user SELECT user, 'user', '[]', MIN(made), NULL FROM invite GROUP BY user;
"""
_encode = json.JSONEncoder(separators=(",", ":")).encode
_RECORDS = ("job", "agent", "share", "boots", "site", "batch", "meta")  # batch: pilots' jobs


def check(path: str) -> None:
    """That this version can take the journal over; changes nothing.

    Raises:
        GshellError: it cannot, or the journal cannot be read.
    """
    try:
        db = sqlite3.connect(f"file:{quote(path)}?mode=ro", timeout=5.0, uri=True)
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise _damaged(path, error) from None
    _not_newer(path, version)


def _not_newer(path: str, version: int) -> None:
    if version > _VERSION:
        raise GshellError(
            f"{path} was written by another version of gshell ({version})",
            hint="update gshell, or start with a new state directory: --state DIR",
        )


def _damaged(path: str, error: object) -> GshellError:
    return GshellError(
        f"the journal {path} cannot be read: {error}",
        hint="move it away, or start with a new state directory: --state DIR",
    )


class Credential(NamedTuple):
    serial: str
    kind: str
    user: str
    agent_id: str


class Key(NamedTuple):
    """A credential as its user is shown it."""

    serial: str
    kind: str
    user: str
    agent_id: str
    made: float
    seen: float | None
    revoked: float | None


class User(NamedTuple):
    name: str
    role: str
    groups: tuple[str, ...]
    made: float
    revoked: float | None


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
            _not_newer(path, version)
            if version < _VERSION:  # a version only adds tables
                mark = f"PRAGMA user_version={_VERSION};"
                self._db.executescript(f"BEGIN IMMEDIATE;{_TABLES}{_ADOPT}{mark}COMMIT;")
        except FileExistsError:
            raise _damaged(self.path, "it was made by somebody else just now") from None
        except (sqlite3.Error, OSError) as error:
            raise _damaged(self.path, error) from None

    def close(self) -> None:
        self._db.close()

    def begin(self) -> None:
        self._db.execute("BEGIN")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    # -------------------------------------------------------------------------------------- records

    def put(self, table: str, key: str, value: dict[str, Any] | None) -> None:
        self.put_all({(table, key): value})

    def put_all(self, records: Mapping[tuple[str, str], dict[str, Any] | None]) -> None:
        """(table, key) -> record, None: there is none any more."""
        kept: dict[str, list[tuple[str, str]]] = {}
        gone: dict[str, list[tuple[str]]] = {}
        for (table, key), value in records.items():
            assert table in _RECORDS
            if value is None:
                gone.setdefault(table, []).append((key,))
            else:
                kept.setdefault(table, []).append((key, _encode(value)))
        for table, rows in kept.items():
            self._db.executemany(f"REPLACE INTO {table} VALUES (?,?)", rows)  # noqa: S608
        for table, keys in gone.items():
            self._db.executemany(f"DELETE FROM {table} WHERE key=?", keys)  # noqa: S608

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
            raise _damaged(self.path, error) from None

    def meta(self, key: str) -> dict[str, Any]:
        """One record of the table ``meta``; empty if there is none."""
        row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        found = json.loads(row[0]) if row else {}
        return found if isinstance(found, dict) else {}

    def next_id(self) -> int:
        return int(self.meta("next_id").get("value", 1))

    # --------------------------------------------------------------------------------------- nonces

    def burn(self, nonce: str, until: float) -> bool:
        """Mark a nonce as used; False if it was already."""
        done = self._db.execute("INSERT OR IGNORE INTO nonce VALUES (?,?)", (nonce, until))
        return done.rowcount == 1

    def forget_nonces(self, now: float) -> None:
        self._db.execute("DELETE FROM nonce WHERE until < ?", (now,))

    # -------------------------------------------------------------------------------------- invites

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

    def invites_of(self, user: str, now: float) -> int:
        """How many of the user's may still be used."""
        query = "SELECT COUNT(*) FROM invite WHERE user=? AND until >= ? AND uses > 0"
        return int(self._db.execute(query, (user, now)).fetchone()[0])

    # --------------------------------------------------------------------------------------- pilots

    def add_pilot(self, hash: str, name: str, nodes: int) -> None:
        """An invite with this hash is a pilot's."""
        self._db.execute("INSERT INTO pilot VALUES (?,?,?)", (hash, name, nodes))
        gone = "hash NOT IN (SELECT hash FROM invite)"
        self._db.execute(f"DELETE FROM pilot WHERE {gone}")  # noqa: S608
        self._db.execute(f"DELETE FROM claim WHERE {gone}")  # noqa: S608

    def pilot(self, hash: str, now: float) -> tuple[str, str, int] | None:
        """(user, name, nodes) of a pilot's token; None if it is none, or over."""
        row = self._db.execute(
            "SELECT invite.user, pilot.name, pilot.nodes FROM invite JOIN pilot USING (hash) "
            "WHERE hash=? AND invite.until >= ?",
            (hash, now),
        ).fetchone()
        return (row[0], row[1], row[2]) if row else None

    def pilot_named(self, user: str, name: str, now: float) -> bool:
        """Is there one that is not over?"""
        row = self._db.execute(
            "SELECT 1 FROM invite JOIN pilot USING (hash) "
            "WHERE invite.user=? AND pilot.name=? AND invite.until >= ?",
            (user, name, now),
        ).fetchone()
        return row is not None

    def claim(self, hash: str, node: int, restart: int, agent_id: str, now: float) -> bool:
        """Take a node of a pilot; False: taken, by this restart or a later one."""
        done = self._db.execute(
            "INSERT INTO claim SELECT ?,?,?,?,? WHERE NOT EXISTS "
            "(SELECT 1 FROM claim WHERE hash=? AND node=? AND restart >= ?)",
            (hash, node, restart, agent_id, now, hash, node, restart),
        )
        return done.rowcount == 1

    # ---------------------------------------------------------------------------------- credentials

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

    def agent_owner(self, agent_id: str) -> str | None:
        """The user that an agent's name was given to, if to any."""
        row = self._db.execute(
            "SELECT user FROM credential WHERE kind='agent' AND agent_id=?", (agent_id,)
        ).fetchone()
        return row[0] if row else None

    def keys(self, user: str | None = None, prefix: str = "", all: bool = False) -> list[Key]:
        """Credentials, the oldest first; those withdrawn only with ``all``."""
        wheres, values = ["1"], []
        if user is not None:
            wheres.append("user=?")
            values.append(user)
        if prefix:  # no LIKE: its pattern would be the user's
            wheres.append("substr(serial, 1, ?) = ?")
            values += [len(prefix), prefix]  # type: ignore[list-item]
        if not all:
            wheres.append("revoked IS NULL")
        query = (
            "SELECT serial, kind, user, agent_id, made, seen.at, revoked FROM credential "
            "LEFT JOIN seen USING (serial) WHERE "
        )
        rows = self._db.execute(query + " AND ".join(wheres) + " ORDER BY made", values)
        return [Key(*row) for row in rows]

    def key_count(self, user: str) -> int:
        query = "SELECT COUNT(*) FROM credential WHERE user=? AND revoked IS NULL"
        return int(self._db.execute(query, (user,)).fetchone()[0])

    def agent_keys(self, user: str, agent_id: str) -> list[str]:
        """Serials that an agent of this name may come with."""
        rows = self._db.execute(
            "SELECT serial FROM credential WHERE user=? AND agent_id=? AND kind='agent' "
            "AND revoked IS NULL",
            (user, agent_id),
        )
        return [serial for (serial,) in rows]

    def withdrawn(self) -> list[str]:
        rows = self._db.execute("SELECT serial FROM credential WHERE revoked IS NOT NULL")
        return [serial for (serial,) in rows]

    def mark_seen(self, serial: str, now: float) -> None:
        self._db.execute("REPLACE INTO seen VALUES (?,?)", (serial, now))

    def revoke(self, serial: str, now: float) -> bool:
        done = self._db.execute(
            "UPDATE credential SET revoked=? WHERE serial=? AND revoked IS NULL", (now, serial)
        )
        self._credentials.pop(serial, None)
        return done.rowcount == 1

    # ---------------------------------------------------------------------------------------- users

    def user(self, name: str) -> User | None:
        """Somebody who was added, and maybe revoked since."""
        row = self._db.execute("SELECT * FROM user WHERE name=?", (name,)).fetchone()
        return _user(row) if row else None

    def users(self) -> list[User]:
        """All but those who were revoked, by name."""
        rows = self._db.execute("SELECT * FROM user WHERE revoked IS NULL ORDER BY name")
        return [_user(row) for row in rows]

    def put_user(self, name: str, role: str, groups: list[str], now: float) -> None:
        """Add, change, or add again."""
        self._db.execute(
            "INSERT INTO user VALUES (?,?,?,?,NULL) ON CONFLICT (name) DO UPDATE SET "
            "role=excluded.role, groups=excluded.groups, revoked=NULL, "
            "made=CASE WHEN revoked IS NULL THEN made ELSE excluded.made END",
            (name, role, json.dumps(groups), now),
        )

    def revoke_user(self, name: str, now: float) -> list[str] | None:
        """The serials that are withdrawn with the user; None: there is no such user."""
        self.begin()
        try:
            done = self._db.execute(
                "UPDATE user SET revoked=? WHERE name=? AND revoked IS NULL", (now, name)
            )
            serials = [key.serial for key in self.keys(name)]
            for serial in serials:
                self.revoke(serial, now)
            self._db.execute("DELETE FROM invite WHERE user=?", (name,))
        finally:
            self.commit()
        return serials if done.rowcount or serials else None


def _user(row: tuple[Any, ...]) -> User:
    return User(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4])

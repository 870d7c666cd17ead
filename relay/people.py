"""The relay's users and their keys: added, listed, revoked. Knows the journal and the desk, no
connection: what a revocation ends is the broker's to say.
"""

from __future__ import annotations

from typing import Any

from gshell.errors import GshellError, UsageError
from relay import auth
from relay.broker import rights
from relay.broker.events import Audit, ConnUp, Known, Revoked
from relay.desk import Desk, Outcome, check_invite, hours_of, whole
from relay.journal import Journal, Key, User

USER_USES = 1  # of the invite that comes with a new user: one machine
SERIAL_DIGITS = 6  # of a serial are enough to say which
_LISTED = 5000  # keys in one answer

Message = dict[str, Any]


class People:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._journal: Journal = desk.journal

    def on_request(self, up: ConnUp, message: Message, now: float) -> Outcome:
        """The answer to a request that the broker let through: who asks for what only
        administrators may has been sent away."""
        re = message.get("id")
        try:
            outcome = self._on_request(up, message, now)
            return outcome._replace(answer={"re": re, "ok": True, **outcome.answer})
        except GshellError as error:
            answer = {"re": re, "ok": False, "code": getattr(error, "code", "usage"),
                      "message": error.message, "hint": error.hint}  # fmt: skip
            object = str(message.get("user") or message.get("what") or "")
            verb = str(message.get("m"))
            if verb == "ssh-host":  # agents know messages, not answers
                answer["m"] = verb
            return Outcome(answer, (Audit(up.user, verb, object, "refused", up.source),))

    def _on_request(self, up: ConnUp, message: Message, now: float) -> Outcome:
        match message.get("m"):
            case "users":
                return Outcome({"users": [self._user_view(u) for u in self._journal.users()]})
            case "user-add":
                return self._add(up, message, now)
            case "user-revoke":
                return self._revoke_user(up, _text(message, "user"), now)
            case "keys":
                return self._keys(up, message)
            case "revoke":
                return self._revoke_key(up, message, now)
            case _:
                return self.desk.on_request(up, message, now)

    # ---------------------------------------------------------------------------------------- users

    def _add(self, up: ConnUp, message: Message, now: float) -> Outcome:
        name, role = _text(message, "user"), message.get("role")
        auth.check_name(name, "a user's name")
        if name.startswith(rights.GUEST):
            raise UsageError(f"names that begin with {rights.GUEST} are for guests")
        if role not in (None, "admin", "user"):
            raise UsageError("a user's role is admin or user")
        known = self._journal.user(name)
        there = known is not None and known.revoked is None
        groups = message.get("groups")
        if groups is None:
            groups = list(known.groups) if known is not None and there else []
        if not isinstance(groups, list) or len(groups) > 64:
            raise UsageError("a user is in 64 groups at most")
        groups = sorted({auth.check_name(str(group), "a group's name") for group in groups})
        role = role or (known.role if known is not None and there else "user")
        uses, hours = whole(message, "uses", USER_USES), hours_of(message)
        check_invite("client", uses, hours)
        self._journal.put_user(name, role, groups, now)
        invite = self.desk.invite(name, "client", uses, hours, now)
        detail = {"role": role, "groups": groups, "uses": uses, "hours": hours}
        audit = Audit(up.user, "user-add", f"user {name}", "ok", up.source, detail)
        known_now = Known(name, str(role), frozenset(groups))
        answer = {"user": name, "role": role, "groups": groups, "invite": invite, "uses": uses,
                  "hours": hours}  # fmt: skip
        return Outcome(answer, (audit,), (known_now,))

    def _revoke_user(self, up: ConnUp, name: str, now: float) -> Outcome:
        serials = self._journal.revoke_user(name, now)
        if serials is None:
            raise UsageError(f"there is no user {name[:64]!r}", hint="gshell relay user list")
        audit = Audit(
            up.user, "user-revoke", f"user {name}", "ok", up.source, {"keys": len(serials)}
        )
        why = f"the user {name} was revoked"
        return Outcome(
            {"user": name, "keys": len(serials)},
            (audit,),
            (Revoked(frozenset(serials), name, why, whole=True),),
        )

    def _user_view(self, user: User) -> Message:
        return {"name": user.name, "role": user.role, "groups": list(user.groups),
                "made_at": user.made, "keys": self._journal.key_count(user.name)}  # fmt: skip

    # ----------------------------------------------------------------------------------------- keys

    def _keys(self, up: ConnUp, message: Message) -> Outcome:
        whose: str | None = up.user
        if up.standing == "admin" and (message.get("user") or message.get("all")):
            whose = _text(message, "user") or None
        keys = self._journal.keys(whose)[-_LISTED:]
        return Outcome({"keys": [_key_view(key, up) for key in keys]})

    def _revoke_key(self, up: ConnUp, message: Message, now: float) -> Outcome:
        what = auth.serial_text(_text(message, "what"))
        if len(what) < SERIAL_DIGITS or any(c not in "0123456789abcdef" for c in what):
            raise UsageError(
                f"say which by {SERIAL_DIGITS} or more digits of its serial", hint="gshell keys"
            )
        anybodys = up.standing == "admin" and bool(message.get("any"))
        found = self._journal.keys(None if anybodys else up.user, what)
        if not found:
            raise _none(f"there is no key {what[:40]}")
        if len(found) > 1:
            raise UsageError(f"{len(found)} keys begin with {what}: say more", hint="gshell keys")
        key = found[0]
        self._journal.revoke(key.serial, now)
        detail = {"user": key.user, "kind": key.kind, "agent": key.agent_id}
        audit = Audit(up.user, "key-revoke", f"key {key.serial[:12]}", "ok", up.source, detail)
        why = "these credentials were withdrawn"
        return Outcome(
            {"revoked": "key", "id": key.serial},
            (audit,),
            (Revoked(frozenset([key.serial]), key.user, why),),
        )


def _none(message: str) -> GshellError:
    error = UsageError(message, hint="gshell keys")
    error.code = "none"  # type: ignore[attr-defined]
    return error


def _text(message: Message, key: str) -> str:
    value = message.get(key)
    return value if isinstance(value, str) and len(value) <= 200 else ""


def _key_view(key: Key, up: ConnUp) -> Message:
    return {
        "serial": key.serial, "kind": key.kind, "user": key.user, "agent_id": key.agent_id,
        "made_at": key.made, "seen_at": key.seen, "mine": key.serial == up.credential,
    }  # fmt: skip

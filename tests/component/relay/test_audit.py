"""The audit log: what was changed, taken out, put in, moved or cut off is found."""

import json
import os
import stat

import pytest

from relay import audit, auditing
from relay.audit import AuditLog, Entry, Mark

T0 = 1_000_000.0


def entry(number=0, **fields):
    values = {"at": T0 + number, "who": "alice", "source": "10.0.0.1:5", "verb": "attach",
              "object": f"job {number}", "result": "ok", "detail": {}}  # fmt: skip
    return Entry(**{**values, **fields})


class Written:
    """A log on disk and what the journal would know of its end."""

    def __init__(self, path):
        self.path, self.mark = str(path), None

    def write(self, *entries):
        log = AuditLog(self.path, self.mark, T0)
        self.mark = log.append(entries)
        log.close()

    def lines(self):
        with open(self.path, "rb") as file:
            return file.read().splitlines(keepends=True)

    def put(self, lines):
        with open(self.path, "wb") as file:
            file.write(b"".join(lines))

    def verify(self):
        return audit.verify(audit.files(self.path), self.mark)


@pytest.fixture
def log(tmp_path):
    one = Written(tmp_path / "audit.log")
    one.write(*(entry(number) for number in range(1, 8)))
    return one


def test_what_was_written_is_good(log):
    assert log.verify() == (7, None)
    assert stat.S_IMODE(os.stat(log.path).st_mode) == 0o600
    found = list(audit.entries([log.path]))
    assert [line["object"] for line in found] == [f"job {n}" for n in range(1, 8)]
    assert found[0]["prev"] == audit.FIRST
    assert set(found[0]) == {"seq", "at", "who", "from", "verb", "object", "result", "detail",
                             "prev", "hash"}  # fmt: skip


def test_it_goes_on_after_a_restart(log):
    log.write(entry(8))
    log.write(entry(9))
    assert log.verify() == (9, None)


@pytest.mark.parametrize(
    "field", ["at", "who", "from", "verb", "object", "result", "detail", "seq"]
)
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_changed_entry_is_found(log, field, at):
    lines = log.lines()
    line = json.loads(lines[at])
    line[field] = {"x": 1} if field == "detail" else 12 if field in ("at", "seq") else "bob"
    lines[at] = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    log.put(lines)
    count, bad = log.verify()
    assert (count, bad.line) == (at, at + 1)


@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_changed_entry_with_a_new_hash_is_found_by_the_next(log, at):
    lines = log.lines()
    line = {**json.loads(lines[at]), "who": "bob"}
    line["hash"] = audit.digest(line)
    lines[at] = json.dumps(line).encode() + b"\n"
    log.put(lines)
    assert log.verify()[1].line == at + 2


def test_a_chain_made_anew_is_found_by_the_journal_s_mark(log):
    prev, lines = audit.FIRST, []
    for number in range(1, 8):
        line = audit.sealed(entry(number, who="bob"), number, prev)
        prev = line["hash"]
        lines.append(json.dumps(line).encode() + b"\n")
    log.put(lines)
    assert audit.verify([log.path]) == (7, None)
    assert log.verify()[1].line == 7


@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_an_entry_taken_out_is_found(log, at):
    lines = log.lines()
    del lines[at]
    log.put(lines)
    assert log.verify()[1] is not None


@pytest.mark.parametrize("keep", [0, 1, 6])
def test_a_cut_end_is_found(log, keep):
    log.put(log.lines()[:keep])
    assert "the end is missing" in str(log.verify()[1])


def test_a_log_that_was_deleted_is_found(log):
    os.unlink(log.path)
    assert "the end is missing" in str(log.verify()[1])


def test_an_inserted_entry_is_found(log):
    lines = log.lines()
    last = json.loads(lines[2])
    forged = audit.sealed(entry(99), 4, last["hash"])
    lines.insert(3, json.dumps(forged).encode() + b"\n")
    log.put(lines)
    assert log.verify()[1].line == 5


def test_a_repeated_entry_is_found(log):
    lines = log.lines()
    lines.insert(3, lines[2])
    log.put(lines)
    assert log.verify()[1].line == 4


@pytest.mark.parametrize("at", [0, 3, 5])
def test_entries_that_were_swapped_are_found(log, at):
    lines = log.lines()
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    log.put(lines)
    assert log.verify()[1].line == at + 1


def test_a_line_that_is_none_is_found(log):
    lines = log.lines()
    lines[4] = b"\xff nonsense\n"
    log.put(lines)
    assert log.verify()[1].line == 5


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_half_a_line_after_a_crash_is_repaired_and_says_so(log, cut):
    mark = log.mark
    log.write(entry(8))
    with open(log.path, "r+b") as file:
        size = len(log.lines()[-1])
        file.truncate(os.path.getsize(log.path) - min(cut, size - 1))
    log.mark = mark  # the crash came before the journal heard of it
    log.write(entry(9))
    assert log.verify() == (9, None)
    repaired = json.loads(log.lines()[7])
    assert (repaired["verb"], repaired["result"]) == ("log", "repaired")
    assert repaired["detail"]["cut_bytes"] > 0


def test_an_entry_that_the_journal_did_not_hear_of_counts(log):
    mark = log.mark
    log.write(entry(8))
    log.mark = mark
    log.write(entry(9))
    assert log.verify() == (9, None)


def test_entries_that_were_taken_while_the_relay_was_down_stay_found(log):
    log.put(log.lines()[:4])
    log.write(entry(8))
    assert log.verify()[1].line == 5
    assert json.loads(log.lines()[4])["result"] == "missing"
    log.write(entry(9))
    assert log.verify()[1].line == 5


def test_a_chain_made_anew_while_the_relay_was_down_is_not_gone_on_with(log):
    prev, lines = audit.FIRST, []
    for number in range(1, 10):
        line = audit.sealed(entry(number, who="bob"), number, prev)
        prev = line["hash"]
        lines.append(json.dumps(line).encode() + b"\n")
    log.put(lines)
    log.write(entry(8))
    assert json.loads(log.lines()[9])["result"] == "missing"
    assert log.verify()[1] is not None


def test_files_are_chained_over_rotations(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "MAX_BYTES", 2000)
    log = Written(tmp_path / "audit.log")
    for number in range(40):
        log.write(entry(number))
    paths = audit.files(log.path)
    assert len(paths) > 5
    assert log.verify() == (40, None)
    os.unlink(paths[2])
    assert log.verify()[1].path == paths[3]


def test_the_oldest_files_go_and_that_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "MAX_BYTES", 1000)
    monkeypatch.setattr(audit, "KEEP", 3)
    log = Written(tmp_path / "audit.log")
    for number in range(40):
        log.write(entry(number))
    paths = audit.files(log.path)
    assert len(paths) == 4
    count, bad = log.verify()
    assert bad is None
    assert count < 40
    os.unlink(paths[0])
    assert "missing before" in str(log.verify()[1])


def test_a_disk_that_takes_nothing_loses_nothing(log, monkeypatch):
    one = AuditLog(log.path, log.mark, T0)
    real, full = os.write, [True]

    def write(fd, data):
        if full[0] and fd == one._fd:
            return real(fd, data[: len(data) // 2])
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    before = log.mark
    assert one.append([entry(8)]) == before
    assert one.append([entry(9)]) == before
    full[0] = False
    log.mark = one.append([entry(10)])
    one.close()
    assert log.verify() == (10, None)
    assert [json.loads(line)["object"] for line in log.lines()[-3:]] == ["job 8", "job 9", "job 10"]


def test_what_is_lost_on_a_full_disk_is_counted(log, monkeypatch):
    monkeypatch.setattr(audit, "_HELD", 3)
    one = AuditLog(log.path, log.mark, T0)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: 0 if fd == one._fd else real(fd, data))
    for number in range(8, 18):
        one.append([entry(number)])
    monkeypatch.setattr(os, "write", real)
    one.append([])
    log.mark = one.append([entry(18)])
    one.close()
    assert log.verify()[1] is None
    lost = [line for line in audit.entries([log.path]) if line["result"] == "lost"]
    assert [line["detail"] for line in lost] == [{"entries": 7}]


def test_who_is_refused_over_and_over_fills_no_disk(log):
    one = AuditLog(log.path, log.mark, T0)
    refused = [e for n in range(1000) for e in one.admit(entry(at=T0 + n / 100, result="none"))]
    assert len(refused) == audit.REFUSED_PER_MINUTE
    later = one.admit(entry(at=T0 + 61, result="none"))
    assert later[0].detail == {"refused_too": 1000 - audit.REFUSED_PER_MINUTE}
    assert len(one.admit(entry(at=T0 + 1, who="bob", result="none"))) == 1
    assert len([e for n in range(1000) for e in one.admit(entry(at=T0))]) == 1000
    one.close()


def test_a_file_is_shown_and_checked_by_a_command(log, capsys):
    log.write(entry(8, who="agent n1 of bob", verb="agent-up", object="agent n1"),
              entry(9, who="root", verb="user-add", object="user bob\x1b[31m"))  # fmt: skip
    assert auditing.run(["verify", log.path]) == 0
    assert "9 entries" in capsys.readouterr().out
    folder = os.path.dirname(log.path)
    assert auditing.run(["show", "--state", folder, "--user", "bob"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "agent n1 of bob from 10.0.0.1:5" in line
    assert auditing.run(["show", "--state", folder, "--job", "3", "--json"]) == 0
    assert [e["object"] for e in json.loads(capsys.readouterr().out)["entries"]] == ["job 3"]
    assert auditing.run(["show", "--state", folder, "-n", "1"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    log.put(log.lines()[3:4] + log.lines())
    assert auditing.run(["verify", log.path]) == 1
    assert f"{log.path}:2: it does not follow entry 4" in capsys.readouterr().err


def test_no_log_is_said(tmp_path, capsys):
    assert auditing.run(["verify", "--state", str(tmp_path)]) == 125
    assert "there is no audit log" in capsys.readouterr().err
    assert Mark(1, "x", 1).seq == 1

"""The sweeper's file: several processes, deaths at any moment, and what is never lost."""

import contextlib
import multiprocessing
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from fractions import Fraction

import pytest

from gshell.errors import UsageError
from gshell.sweep import execofile, owners, sweeper, sweepfile
from gshell.sweep.space import HashableDict, sweep, sweep_stats
from gshell.sweep.sweeper import Counts, ParamSweeper
from gshell.sweep.sweepfile import FILE
from kit.execoleft import left_by_execo
from kit.procs import until

SPACE = {"n": list(range(5)), "size": ["A", "B"]}


@pytest.fixture
def make(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(parameters=SPACE, **more):
            one = ParamSweeper(tmp_path / "sweeps", sweep(parameters), **more)
            stack.callback(one.close)
            return one

        yield start


def test_points_come_in_the_order_of_the_sweep_each_once(make):
    one = make()
    assert list(iter(one.get_next, None)) == sweep(SPACE)
    assert one.get_next() is None
    assert str(one) == "sweeps <10 total, 0 done, 0 skipped, 10 in progress, 0 remaining>"


def test_what_is_done_stays_done_and_what_was_cancelled_comes_last(make):
    one = make()
    first, second = one.get_next(), one.get_next()
    one.done(first)
    one.cancel(second)
    assert list(one.get_remaining()) == [*sweep(SPACE)[2:], second]
    again = make()
    assert again.get_done() == {first}
    assert list(again.get_remaining()) == [*sweep(SPACE)[2:], second]


def test_what_was_skipped_is_there_again_in_the_next_run_only(make):
    one, beside = make(), make()
    one.skip(one.get_next())
    assert one.counts() == beside.counts() == Counts(10, 0, 1, 0, 9)
    one.reset()
    assert one.counts().remaining == 10
    code = (
        "import sys; from gshell.sweep.sweeper import ParamSweeper as P; "
        "s = P(sys.argv[1], [{'n': 0, 'size': 'A'}]); s.skip(s.get_next()); print(s)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, one._dir], capture_output=True, text=True, env=paths()
    )
    assert "1 skipped" in out.stdout, out.stderr
    assert make().counts().skipped == 0


def paths():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_two_instances_hand_out_nothing_twice_and_see_each_other(make):
    one, other = make(), make()
    got = [x for pair in zip(iter(one.get_next, None), iter(other.get_next, None)) for x in pair]
    assert len(set(got)) == len(got) == 10
    other.cancel(got[1])
    assert one.get_next() == got[1]
    other.done(got[1])
    assert one.get_done() == {got[1]}


def test_threads_share_one_instance_or_have_their_own(make):
    shared = make({"n": range(300)})
    got: list[HashableDict] = []

    def work(mine):
        for point in iter(mine.get_next, None):
            got.append(point)
            mine.done(point)

    threads = [
        threading.Thread(target=work, args=(make({"n": range(300)}) if n % 2 else shared,))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == len(set(got)) == 300
    assert shared.counts().done == 300


def test_a_filter_chooses_and_orders(make):
    one = make()
    assert one.get_next(lambda points: sorted(points, key=lambda p: -p["n"])) == {
        "n": 4,
        "size": "A",
    }
    assert one.get_next(lambda points: filter(lambda p: p["size"] == "B", points)) == {
        "n": 0,
        "size": "B",
    }
    assert one.get_next(lambda points: []) is None
    assert one.get_next(lambda points: [{"n": 77}, HashableDict(n=77)]) is None
    assert [p["n"] for p in one.get_next_batch(3, lambda points: list(points)[::-1])] == [4, 3, 3]
    with pytest.raises(ZeroDivisionError):
        one.get_next(lambda points: 1 // 0)
    assert one.counts().inprogress == 5


def test_a_point_that_its_user_changed_is_still_known(make):
    one = make()
    point = one.get_next()
    point["backup_dir"] = "/tmp"
    one.done(point)
    assert one.get_done() == {HashableDict(n=0, size="A")}


def test_who_is_no_point_is_told_so(make):
    with pytest.raises(UsageError, match="not a point of the sweep"):
        make().done({"n": 99})


def test_done_is_stronger_than_a_late_cancel(make):
    one, other = make(), make()
    point = one.get_next()
    one.done(point)
    other.cancel(point)
    assert one.get_done() == {point}


def test_a_larger_space_over_the_same_file_keeps_what_was_done(make):
    one = make()
    one.done(one.get_next())
    more = make({"n": range(6), "size": ["A", "B", "C"]})
    assert more.counts() == Counts(18, 1, 0, 0, 17)
    one.set_sweeps(sweep({"n": [7]}))
    assert one.counts() == Counts(1, 0, 0, 0, 1)
    one.set_sweeps(sweep(SPACE))
    assert one.counts().done == 1


def test_kept_points_need_not_be_given_again(make, tmp_path):
    make(save_sweeps=True)
    again = ParamSweeper(tmp_path / "sweeps")
    assert list(again.get_sweeps()) == sweep(SPACE)
    again.close()
    with pytest.raises(UsageError, match="no points are known"):
        ParamSweeper(tmp_path / "none")


def test_a_file_that_is_none_is_left_as_it_is(make, tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / FILE).write_bytes(b"not a database, but somebody's " * 100)
    with pytest.raises(UsageError, match=r"sweep\.sqlite cannot be used"):
        make()
    assert (tmp_path / "sweeps" / FILE).read_bytes().startswith(b"not a database")


def test_a_child_by_fork_has_a_hand_of_its_own(make):
    one = make()
    mine = one.get_next()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        theirs = pool.apply(_next_of, (one._dir,))
        assert theirs not in (mine, None)
        assert one.counts().inprogress == 2
    assert one.get_next() not in (mine, None)


def _next_of(folder):
    return ParamSweeper(folder, sweep(SPACE)).get_next()


WORKER = """
import sys
from gshell.sweep.space import sweep
from kit.procs import until
from gshell.sweep.sweeper import ParamSweeper
s = ParamSweeper(sys.argv[1], sweep({"n": range(int(sys.argv[2]))}))
for p in iter(s.get_next, None):
    print("begun", p["n"], flush=True)
    s.done(p)
    print("done", p["n"], flush=True)
"""


def test_no_point_is_lost_and_none_called_done_that_is_not_whoever_is_killed_when(tmp_path):
    seed = random.randrange(1 << 32)
    luck = random.Random(seed)
    folder, points = str(tmp_path / "s"), 3000
    said: set[int] = set()
    begun: set[int] = set()
    for number in range(6):
        workers = [
            subprocess.Popen([sys.executable, "-c", WORKER, folder, str(points)],
                             stdout=subprocess.PIPE, text=True, env=paths())
            for _ in range(1 + number % 2)
        ]  # fmt: skip
        heard = [workers[0].stdout.readline() for _ in range(luck.randrange(3, 300))]
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        for worker in workers:
            # Not what it was saying when it died.
            with worker:  # communicate() would pass over what readline() has read ahead
                assert worker.stdout is not None
                heard += worker.stdout.read().rpartition("\n")[0].splitlines()
        for line in heard:
            word, _, number = line.partition(" ")
            if number:  # else it had ended: all is done
                (said if word == "done" else begun).add(int(number))
    left = ParamSweeper(folder, sweep({"n": range(points)}))
    done = {p["n"] for p in left.get_done()}
    assert said - done == set(), f"seed {seed}"
    assert done - begun == set(), f"seed {seed}"
    assert left.counts().inprogress == 0, f"seed {seed}"
    assert len(list(iter(left.get_next, None))) == points - len(done), f"seed {seed}"
    left.close()


def hurried(make, count=200):
    """A sweeper that takes points ahead, and has one that nobody asked for."""
    one = make({"n": range(count)})
    for _ in range(3 * sweeper.EAGER):
        one.done(one.get_next())
    assert one._spare is not None
    return one


@pytest.fixture
def no_hurry(monkeypatch):
    monkeypatch.setattr(sweeper, "QUICK_S", 1000.0)  # however busy this machine is
    monkeypatch.setattr(sweeper, "LOOK_S", 1000.0)


def test_quick_points_are_taken_ahead_in_order_each_once(make, no_hurry):
    one = hurried(make)
    handed = [point["n"] for point in iter(one.get_next, None) if one.done(point) is None]
    assert handed == list(range(3 * sweeper.EAGER, 200))
    assert one.counts().done == 200


@pytest.mark.parametrize("look", ["counts", "get_remaining", "get_inprogress", "update", "close"])
def test_a_point_that_was_taken_ahead_is_nobody_s_when_somebody_looks(make, no_hurry, look):
    one = hurried(make)
    getattr(one, look)()
    assert make({"n": range(200)}).counts().inprogress == 0


def test_a_point_that_was_taken_ahead_and_not_asked_for_is_given_back_by_itself(make, no_hurry):
    one, other = hurried(make), make({"n": range(200)})
    until(lambda: other.counts().inprogress == 0, "it to be given back")
    assert one._spare is None
    first = 3 * sweeper.EAGER
    assert [one.get_next()["n"], other.get_next()["n"]] == [first, first + 1]


def test_near_the_end_nothing_is_taken_ahead(make, no_hurry):
    one = make({"n": range(sweeper.SPARE_ABOVE)})
    for _ in range(3 * sweeper.EAGER):
        one.done(one.get_next())
    assert one._spare is None


def test_a_child_by_fork_does_not_get_what_its_parent_took_ahead(make, no_hurry):
    one = hurried(make)
    spare = one._spare.point
    pid = os.fork()
    if not pid:
        os._exit(one.get_next() == spare)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_who_is_on_another_host_is_given_up_when_it_is_silent(make, monkeypatch):
    one = make()
    one.get_next()
    with contextlib.closing(sqlite3.connect(one._file.path)) as db, db:
        db.execute("update owner set host = 'elsewhere', beat_at = beat_at + 1000")
    assert make().counts().inprogress == 1
    with contextlib.closing(sqlite3.connect(one._file.path)) as db, db:
        db.execute("update owner set beat_at = beat_at - 2000")
    assert make().counts().inprogress == 0


def test_a_process_of_the_same_number_is_not_the_same(make, monkeypatch):
    one = make()
    one.get_next()
    with contextlib.closing(sqlite3.connect(one._file.path)) as db, db:
        db.execute("update owner set started = '1'")
    assert make().counts().inprogress == 0


def test_another_host_of_the_same_name_is_not_a_dead_one_of_before_the_boot(make):
    one = make()
    one.get_next()
    with contextlib.closing(sqlite3.connect(one._file.path)) as db, db:
        db.execute("update owner set boot = 'another pid:[1]'")
    assert make().counts().inprogress == 1
    with contextlib.closing(sqlite3.connect(one._file.path)) as db, db:
        db.execute("update owner set beat_at = ?", (time.time() - up_s() - 1,))
    assert make().counts().inprogress == 0


def up_s():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize("kind", [float, Fraction])
def test_a_level_is_known_by_its_text_where_it_is_not_equal_to_itself(make, kind):
    one = ParamSweeper(make()._dir, [{"n": kind("nan" if kind is float else "1/3")}, {"n": 2}])
    one.done({"n": kind("nan" if kind is float else "1/3")})
    assert one.counts().done == 1
    one.close()


def test_a_filter_may_look_and_say_what_is_done(make):
    one = make()

    def choose(points):
        one.skip(points[0])
        one.done_batch(points[1:3])
        assert len(one.get_remaining()) == 7
        one.update()
        return points[3:]

    assert one.get_next(choose) == sweep(SPACE)[3]
    assert one.counts() == make().counts() == Counts(10, 2, 1, 1, 6)


def test_a_filter_that_returns_nothing_at_all_is_said(make):
    with pytest.raises(UsageError, match="returned None"):
        make().get_next(lambda points: list(points).sort(key=str))


def test_points_that_could_not_be_given_again_are_not_kept(make, tmp_path):
    points = sweep({"n": [Fraction(1, 3)]})
    with pytest.raises(UsageError, match="cannot be kept"):
        ParamSweeper(tmp_path / "s", points, save_sweeps=True)
    kept = [{"a": [1, (2, b"3")], "b": {"x": None}}, {1: "é"}]
    ParamSweeper(tmp_path / "t", kept, save_sweeps=True).close()
    again = ParamSweeper(tmp_path / "t")
    assert list(again.get_sweeps()) == kept
    again.close()


def test_points_that_are_the_same_when_written_down_are_refused(make, tmp_path):
    class Host:
        def __repr__(self):
            return "Host(x)"

    one = ParamSweeper(tmp_path / "s", [{"a": Host()}, {"a": Host()}])
    one.done(one.get_next())
    one.close()
    with pytest.raises(UsageError, match="the same when they are written down"):
        ParamSweeper(tmp_path / "s", [{"a": Host()}, {"a": Host()}])


@pytest.mark.parametrize("wrong", ["abc", {"a": [1]}, [1]])
def test_what_are_no_points_is_said(tmp_path, wrong):
    with pytest.raises(UsageError, match=r"no list of points|no point"):
        ParamSweeper(tmp_path / "s", wrong)


def test_a_directory_that_cannot_be_one_is_said(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "file/x"):
        with pytest.raises(UsageError, match="cannot be the directory of a sweeper"):
            ParamSweeper(tmp_path / name, [{"a": 1}])


def test_a_full_disk_is_said_and_when_there_is_room_it_goes_on(make):
    one = make({"n": range(3000)})
    room = one._file.open().execute("pragma page_count").fetchone()[0] + 12
    one._file.open().execute(f"pragma max_page_count = {room}")
    with pytest.raises(UsageError, match="full") as caught:
        deque(map(one.done, iter(one.get_next, None)))
    assert "nothing is lost" in caught.value.hint
    done = one.counts().done
    assert make({"n": range(3000)}).counts().done == done > 100
    one._file.open().execute("pragma max_page_count = 100000")
    left = list(one.get_inprogress())
    one.done(left[0] if left else one.get_next())
    assert make({"n": range(3000)}).counts().done == done + 1


def test_a_child_can_be_forked_at_any_moment(make):
    one = make({"n": range(20000)})
    stop = threading.Event()

    def work():
        while not stop.is_set() and (point := one.get_next()):
            one.done(point)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            pid = os.fork()
            if not pid:
                os._exit(not one._lock.acquire(timeout=20))  # else its holder is not with us
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        thread.join(30)


def test_a_log_that_grew_is_written_anew_and_who_had_read_half_of_it_reads_on(make, monkeypatch):
    monkeypatch.setattr(sweeper, "GROWN", 0)
    one = make({"n": range(3)})
    point = one.get_next()
    for _ in range(600):
        one.cancel(point)
        one.get_next(lambda points: [point])
    half = make({"n": range(3)})
    assert half.counts() == Counts(3, 0, 0, 1, 2)
    one.cancel(point)
    make({"n": range(3)})  # writes it anew
    rows = sqlite3.connect(one._file.path).execute("select count(*) from happened").fetchone()[0]
    assert rows < 10
    assert half.counts() == one.counts() == Counts(3, 0, 0, 0, 3)


def test_a_shared_file_system_gets_no_shared_memory(make, monkeypatch):
    monkeypatch.setattr(sweepfile, "on_network", lambda path: True)
    one = make()
    one.done(one.get_next())
    assert not os.path.exists(one._file.path + "-wal")
    assert make().counts().done == 1


def test_what_a_mount_table_says(tmp_path):
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sda / ext4 rw 0 0\nsrv:/h {tmp_path} nfs4 rw 0 0\n")
    assert owners.on_network(str(tmp_path / "x"), str(table))
    assert not owners.on_network("/usr", str(table))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_was_done_with_execo_stays_done(make, tmp_path, protocol):
    points = sweep(SPACE)
    left_by_execo(tmp_path / "sweeps", points, [*points[3:5], {"n": 77}], protocol=protocol)
    kept = ParamSweeper(tmp_path / "sweeps")
    assert (set(kept.get_sweeps()), kept.counts().done) == (set(points), 2)
    kept.close()
    one = make()
    assert list(one.get_done()) == points[3:5]
    one.done(one.get_next())
    assert make().counts().done == 3
    assert make({"n": [77, 78]}).counts().done == 1


def test_a_program_in_what_execo_left_is_not_run_and_what_is_broken_is_said(make, tmp_path, capsys):
    points = sweep(SPACE)
    bad = {"n": Fraction(1, 3), "size": "A"}
    left_by_execo(tmp_path / "sweeps", [], [points[0], bad, points[1]])
    with open(tmp_path / "sweeps" / "done", "ab") as file:
        file.write(f"cos\nsystem\n(S'touch {tmp_path}/ran'\ntR.".encode())
        file.write(pickle.dumps(points[2])[:-20])
    one = make()
    assert list(one.get_done()) == points[:2]
    assert not (tmp_path / "ran").exists()
    assert "3 points that were done with execo cannot be read" in capsys.readouterr().out


def test_how_far_it_is_is_a_tuple_as_execo_s(make):
    one = make()
    one.done(one.get_next())
    one.skip(one.get_next())
    one.get_next()
    sweeps, remaining, skipped, inprogress, done = one.stats()
    points = sweep(SPACE)
    assert [*sweeps] == points
    assert [*done, *skipped, *inprogress, *remaining] == points
    assert sweep_stats(one.stats())["done"] == {"n": {0: 1}, "size": {"A": 1}}


def test_what_execo_left_is_read_as_far_as_it_goes(tmp_path):
    points = sweep({"n": [1, 2], "of": [("a", 0.5), frozenset((None, "ü"))]})
    left_by_execo(tmp_path / "sweeps", points, points)
    file = tmp_path / "sweeps" / "done"
    whole = file.read_bytes()
    assert execofile.done(str(file.parent)) == (points, 0)
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        known, unread = execofile.done(str(file.parent))
        assert known == points[: len(known)]
        assert len(known) < len(points)
        assert unread <= 1

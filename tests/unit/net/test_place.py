"""Directories that files are copied into and out of."""

import hashlib
import os

import pytest

from gshell.net.incoming import Quota
from gshell.net.place import Place
from gshell.net.trouble import Trouble


def test_a_box_has_no_way_out(tmp_path):
    (tmp_path / "box").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "box" / "up").symlink_to("..")
    (tmp_path / "box" / "it").symlink_to("../secret")
    place = Place(str(tmp_path / "box"), box=True)
    try:
        for path in ("../secret", "/etc/passwd", "up/secret", "it", "a/../../secret", "x/\0"):
            with pytest.raises((Trouble, ValueError)):
                os.close(place.open(path)[0])
            with pytest.raises((Trouble, ValueError)):
                place.incoming("up/new" if path == "it" else path, "k", 1).close()
        assert [e.path for e in place.entries(".", True)] == [""]
    finally:
        place.close()


@pytest.fixture
def small(tmp_path):
    """A box for 100 bytes in 5 files."""
    place = Place(str(tmp_path), True, Quota(100, 5))
    yield place
    place.close()


def begin(place, name, size, written):
    incoming = place.incoming(name, "k", size, True)
    incoming.look()
    incoming.begin(0)
    incoming.write(bytes(written))
    return incoming


def test_files_that_are_never_finished_count_too(small):
    for name, written in (("a", 40), ("b", 50)):
        begin(small, name, 60 if name == "a" else 50, written).close()
    assert (small.quota.bytes, small.quota.files) == (10, 3)
    with pytest.raises(Trouble, match="11 bytes are more than the 10 that are left"):
        begin(small, "c", 11, 1)
    begin(small, "c", 10, 10).drop()
    assert (small.quota.bytes, small.quota.files) == (10, 3)


def test_what_is_begun_anew_or_gone_on_with_counts_once(small):
    begin(small, "a", 90, 40).close()
    begin(small, "a", 90, 80).close()
    assert (small.quota.bytes, small.quota.files) == (20, 4)
    more = small.incoming("a", "k", 90)
    more.look()
    more.begin(80)
    more.write(bytes(10))
    more.finish(hashlib.sha256(bytes(90)).hexdigest(), 0o644, 0)
    assert (small.quota.bytes, small.quota.files) == (10, 4)


def test_directories_count_as_files_each_once(small):
    small.make_directory("a/b", 0o755)
    small.make_directory("a/b", 0o755)
    begin(small, "a/b/c/f", 1, 1).close()
    assert small.quota.files == 1
    with pytest.raises(Trouble, match="as many files as may be there"):
        small.make_directory("x/y", 0o755)

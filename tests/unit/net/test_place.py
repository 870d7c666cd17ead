"""Directories that files are copied into and out of."""

import os

import pytest

from gshell.net.place import Place, Trouble


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

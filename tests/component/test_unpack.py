"""Archives of somebody who means harm: not a byte outside the target, nothing left of a refusal."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from pathlib import Path

import pytest

from gshell.errors import GshellError
from gshell.net.unpack import Limits, Refused, pack, unpack

END = bytes(1024)


def member(name="a", kind=tarfile.REGTYPE, data=b"x", style=tarfile.PAX_FORMAT, **fields):
    """One member, header and data, as tarfile would write it."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data) if kind in (tarfile.REGTYPE, tarfile.AREGTYPE) else 0
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(style, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def raw(name=b"a", size=b"00000000001", kind=b"0", magic=b"ustar\x0000", data=b"x", prefix=b""):
    """A header that no library would write."""
    head = bytearray(512)
    head[0 : len(name)] = name
    head[100:108] = b"0000644\0"
    head[108:124] = b"0000000\x000000000\0"
    head[124 : 124 + len(size)] = size
    head[136:148] = b"00000000000\0"
    head[148:156] = b" " * 8
    head[156:157] = kind
    head[257:265] = magic
    head[345 : 345 + len(prefix)] = prefix
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + bytes(-len(data) % 512)


def pax(kind=b"x", **records):
    """A pax header that says these things."""
    body = b""
    for key, value in records.items():
        line = b" %s=%s\n" % (key.replace("__", ".").encode(), value)
        size = len(line)
        while len(b"%d" % size + line) != size:
            size = len(b"%d" % size + line)
        body += b"%d" % size + line
    return raw(b"pax", b"%011o" % len(body), kind, data=body)


def directory(name):
    return member(name, tarfile.DIRTYPE, b"")


def link(target, kind=tarfile.SYMTYPE, name="a"):
    return member(name, kind, b"", linkname=target)


LONG = "n" * 256
HOSTILE = {
    "absolute": member("/etc/passwd"),
    "absolute, twice": member("//etc/passwd"),
    "up": member("../out"),
    "up, within": member("a/../../out"),
    "up, at the end": member("a/.."),
    "only up": member(".."),
    "here": member("./a"),
    "only here": member("."),
    "here, within": member("a/./b"),
    "empty component": member("a//b"),
    "a file with a slash": raw(b"a/", kind=b"0", magic=b"ustar\x0000"),
    "no name": raw(b""),
    "symbolic link out": link("/etc/passwd"),
    "symbolic link in": link("b"),
    "link, then through it": link("/tmp", name="d") + member("d/out"),
    "link up, then through it": link("..", name="d") + member("d/out"),
    "hard link": link("/etc/passwd", tarfile.LNKTYPE),
    "hard link in": member("b") + link("b", tarfile.LNKTYPE),
    "character device": member("a", tarfile.CHRTYPE, b"", devmajor=1, devminor=3),
    "block device": member("a", tarfile.BLKTYPE, b"", devmajor=8),
    "pipe": member("a", tarfile.FIFOTYPE, b""),
    "contiguous": raw(kind=b"7"),
    "sparse": raw(kind=b"S"),
    "unknown kind": raw(kind=b"Z"),
    "volume header": raw(kind=b"V"),
    "multi-volume": raw(kind=b"M"),
    "dump directory": raw(kind=b"D"),
    "a device by old header": raw(kind=b"3", magic=b"\0" * 8),
    "twice": member("a") + member("a"),
    "directory twice": directory("a") + directory("a"),
    "file, then directory": member("a") + directory("a"),
    "directory, then file": directory("a") + member("a"),
    "file, then in it": member("a") + member("a/b"),
    "in it, then file": member("a/b") + member("a"),
    "upper and lower": member("README") + member("readme"),
    "upper and lower directories": member("A/x") + member("a/y"),
    "sharp s": member("stra\u00dfe") + member("STRASSE"),
    "composed and not": member("\u00e9") + member("e\u0301"),
    "full width": member("a") + member("\uff41"),
    "dotless": member("\u0130x") + member("i\u0307x"),
    "kelvin": member("\u212a") + member("k"),
    "name too long": member(LONG),
    "directory name too long": member(LONG + "/a"),
    "name too long in bytes": member("\u754c" * 86),
    "gnu name too long": member(LONG, style=tarfile.GNU_FORMAT),
    "too deep": member("/".join("d" * 65)),
    "new line in a name": member("a\nb"),
    "escape in a name": member("a\x1b[2Jb"),
    "delete in a name": member("a\x7fb"),
    "pax path up": pax(path=b"../out") + raw(),
    "pax path absolute": pax(path=b"/out") + raw(),
    "pax path with a nul": pax(path=b"a\0b") + raw(),
    "pax size negative": pax(size=b"-512") + raw(),
    "pax size huge": pax(size=b"999999999999999999999") + raw(),
    "pax size no number": pax(size=b"x") + raw(),
    "pax for all: path": pax(b"g", path=b"b") + raw(),
    "pax for all: size": pax(b"g", size=b"1") + raw(),
    "pax for all: link": pax(b"g", linkpath=b"/etc") + raw(),
    "pax sparse 0.0": pax(GNU__sparse__size=b"9", GNU__sparse__numblocks=b"1") + raw(),
    "pax sparse 0.1": pax(GNU__sparse__map=b"0,1", GNU__sparse__size=b"99") + raw(),
    "pax sparse 1.0": pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0") + raw(),
    "pax sparse name": pax(GNU__sparse__name=b"../out", GNU__sparse__map=b"0,1") + raw(),
    "pax that never ends": pax(path=b"a") * 3000 + raw(),
    "pax with length nought": raw(b"p", b"00000000010", b"x", data=b"0 path=a") + raw(),
    "pax header of a gigabyte": raw(b"p", b"10000000000", b"x", data=b""),
    "pax header that is too long": pax(comment=b"c" * 70_000) + raw(),
    "gnu name of a gigabyte": raw(b"p", b"10000000000", b"L", data=b""),
    "gnu link name": raw(b"p", b"00000000005", b"K", data=b"/etc\0") + raw(),
    "gnu name up": raw(b"p", b"00000000007", b"L", data=b"../out\0") + raw(),
    "ustar prefix up": raw(b"out", prefix=b".."),
    "ustar prefix absolute": raw(b"out", prefix=b"/tmp"),
    "size in base 256, negative": raw(size=b"\xff" + b"\xff" * 10 + b"\x00"),
    "size in base 256, huge": raw(size=b"\x80" + b"\xff" * 11),
    "size no number": raw(size=b"zzzzzzzzzzz"),
    "directory with contents": raw(b"a", kind=b"5"),
    "cut in a file": raw(size=b"00000010000"),
    "cut in a header": raw()[:700],
    "wrong sum": raw()[:10] + b"!" + raw()[11:],
    "wrong sum, later": member("b") + raw()[:10] + b"!" + raw()[11:],
    "no archive": b"hello " * 200,
    "no end": member("b"),
}  # fmt: skip
NO_END = {"no end", "cut in a header", "cut in a file", "size in base 256, huge", "pax size huge"}


def everything(folder: Path) -> dict[str, object]:
    """All below a directory, as it is."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path)] = (status.st_mode, status.st_ino, content)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with things around it that must stay."""
    (tmp_path / "out.keep").write_text("mine")
    target = tmp_path / "target"
    target.mkdir()
    (target / "there").write_text("before")
    (target / "ln").symlink_to("/etc")
    return target


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_changes_nothing(place, name, packed):
    data = HOSTILE[name] + (b"" if name in NO_END else END)
    data = gzip.compress(data) if packed else data
    before = everything(place.parent)
    with pytest.raises(Refused) as caught:
        unpack(io.BytesIO(data), str(place), Limits())
    assert everything(place.parent) == before
    said = str(caught.value)
    assert "refused" in said
    assert said.isprintable()


def test_good_members_before_a_bad_one_are_gone_too(place):
    before = everything(place.parent)
    data = directory("d") + member("d/one", data=b"1" * 5000) + member("two") + link("/etc") + END
    with pytest.raises(Refused, match=r"a: it is a symbolic link"):
        unpack(io.BytesIO(data), str(place))
    assert everything(place.parent) == before


@pytest.mark.parametrize("name", ["there", "ln/x", "ln"])
def test_what_is_in_the_directory_already_stays(place, name):
    before = everything(place.parent)
    with pytest.raises(Refused, match="already"):
        unpack(io.BytesIO(member("fine") + member(name) + END), str(place))
    assert everything(place.parent) == before


def test_a_link_to_a_directory_is_no_target(place):
    (place.parent / "link").symlink_to(place)
    with pytest.raises(GshellError, match="cannot unpack"):
        unpack(io.BytesIO(member() + END), str(place.parent / "link"))


@pytest.mark.parametrize(
    ("limits", "data", "why"),
    [
        (Limits(members=2), b"".join(member(str(n)) for n in range(3)), "more than 2 members"),
        (Limits(total_bytes=10), member("a", data=b"x" * 6) + member("b", data=b"x" * 6), "larger"),
        (Limits(depth=2), member("a/b/c"), "deep"),
    ],
)
def test_limits_are_kept(place, limits, data, why):
    with pytest.raises(Refused, match=why):
        unpack(io.BytesIO(data + END), str(place), limits)
    assert sorted(os.listdir(place)) == ["ln", "there"]


def bomb(size: int) -> io.BytesIO:
    """A gzipped archive with a file of so many noughts."""
    machine = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = machine.compress(raw(b"zeros", b"%011o" % size, data=b""))
    for _ in range(size >> 20):
        out += machine.compress(bytes(1 << 20))
    return io.BytesIO(out + machine.compress(END) + machine.flush())


def test_an_archive_that_was_made_to_fill_the_disk_is_refused_soon(place):
    seen: list[int] = []
    with pytest.raises(Refused, match="fill the disk"):
        unpack(bomb(200 << 20), str(place), progress=seen.append)
    assert seen[-1] < 30 << 20
    assert sorted(os.listdir(place)) == ["ln", "there"]


def test_a_gzip_that_is_cut_or_damaged_is_refused(place):
    whole = gzip.compress(member("a", data=os.urandom(5000)) + END)
    for data in (whole[:-100], whole[:60], whole[:100] + b"!!!!" + whole[104:]):
        with pytest.raises(Refused):
            unpack(io.BytesIO(data), str(place))
    assert sorted(os.listdir(place)) == ["ln", "there"]


def test_dangerous_bits_are_taken_away_and_the_umask_counts(place):
    data = member("s", mode=0o7777) + member("d/x", mode=0o4755) + directory("d") + END
    data += b""
    before = os.umask(0o027)
    try:
        unpack(io.BytesIO(data), str(place))
    finally:
        os.umask(before)
    modes = {
        p.name: stat.S_IMODE(p.stat().st_mode) for p in (place / "s", place / "d", place / "d/x")
    }
    assert modes["s"] == 0o750
    assert modes["x"] == 0o750
    assert not modes["d"] & 0o7027


def test_a_header_for_all_with_a_comment_is_harmless(place):
    assert unpack(io.BytesIO(pax(b"g", comment=b"git") + raw() + END), str(place)).files == 1


def test_what_is_packed_comes_out_the_same(tmp_path, request):
    before = os.umask(0o022)
    request.addfinalizer(lambda: os.umask(before))
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "deep" / "er" / "data").write_bytes(os.urandom(300_000))
    (source / ("l" * 250)).write_bytes(b"")
    (source / "\u00fcml\u00e4ut").write_text("x")
    os.chmod(source / "\u00fcml\u00e4ut", 0o755)
    (tmp_path / "single").write_text("alone")
    with open(os.fsencode(source) + b"/\xff\xfe", "w") as file:
        file.write("no utf-8")
    stream = io.BytesIO()
    seen: list[int] = []
    packed = pack([str(source), str(tmp_path / "single")], stream, seen.append)
    stream.seek(0)
    target = tmp_path / "target"
    target.mkdir()
    assert unpack(stream, str(target)) == packed
    assert seen[-1] == packed.size > 300_000

    def tree(folder: Path) -> dict[str, object]:
        return {
            str(p.relative_to(folder)): (p.stat().st_mode, p.read_bytes() if p.is_file() else None)
            for p in folder.rglob("*")
        }

    assert tree(target / "source") == tree(source)
    assert (target / "single").read_text() == "alone"


@pytest.mark.parametrize("what", ["link", "fifo", "missing"])
def test_only_files_and_directories_are_packed(tmp_path, what):
    folder = tmp_path / "f"
    folder.mkdir()
    if what == "link":
        (folder / "x").symlink_to("/etc/passwd")
    elif what == "fifo":
        os.mkfifo(folder / "x")
    with pytest.raises(GshellError, match="cannot pack"):
        pack([str(folder if what != "missing" else folder / "x")], io.BytesIO())


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 60

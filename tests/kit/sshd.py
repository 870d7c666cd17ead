"""A private OpenSSH server on loopback, with keys and a client's configuration. Knows no gshell.

``with Sshd(directory) as sshd:`` gives ``sshd.ssh("true")`` (the argv of ``ssh host true``),
``sshd.ssh("true", jump=True)`` (``ssh -J``), and a ControlMaster. Nothing outside ``directory`` is
kept, neither the user's ``~/.ssh`` nor ``/etc/ssh`` is read, and only processes started here are
ended.

The account's own start-up files must not weigh on what is compared (a heavy ``.bashrc`` adds tenths
of a second to every ssh). As root, sshd runs in a mount namespace of its own where ``/etc/passwd``
shows the user with ``/bin/sh`` and an empty home directory; the system's files are not touched.
Elsewhere sshd sets HOME to the empty directory for its sessions, so the login shell finds no
start-up files (the shell itself stays the user's: ``login_shell`` says which one it is).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kit.ports import free_port

HOST = "127.0.0.1"
TARGET, JUMP = "bench-target", "bench-jump"  # names in the client configuration
START_DEADLINE_S = 30.0
RUN_DIRECTORY = Path("/run/sshd")  # compiled into Debian's sshd: where privileges are separated
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")  # Debian's
QUIET_NEWER = ["PerSourcePenalties no"]  # sshd >= 9.8 slows down an address that connects a lot


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def why_missing() -> str | None:
    """What isn't installed here, or None if a server can be started."""
    missing = [name for name in ("sshd", "ssh", "ssh-keygen") if _program(name) is None]
    return f"{', '.join(missing)} not installed" if missing else None


class Sshd:
    """The server and how to reach it. Invariant: between enter and exit, ``ssh()`` can connect."""

    def __init__(
        self, directory: Path, settings: tuple[str, ...] = (), shell: str = "/bin/sh"
    ) -> None:
        """``settings``: lines of its configuration; they count instead of what is usual here.
        ``shell``: the login's, where that can be chosen (see ``login_shell``)."""
        self._shell = shell
        self.directory = directory
        self._settings = list(settings)
        self.user = pwd.getpwuid(os.getuid())
        self.port, self.jump_port = free_port(), free_port()
        self.config = directory / "ssh_config"
        self.login_shell = self.user.pw_shell
        self._hosts = {TARGET: self.port, JUMP: self.jump_port}
        self._process: subprocess.Popen[bytes] | None = None
        self._made_run_directory = False

    # -- how to reach it ---------------------------------------------------------------------

    def ssh(
        self, *command: str, jump: bool | str = False, options: tuple[str, ...] = ()
    ) -> list[str]:
        """The argv of ``ssh [-J jump] [options] target command``; ``jump`` may name a host."""
        hop = ["-J", JUMP if jump is True else jump] if jump else []
        return ["ssh", "-F", str(self.config), *hop, *options, TARGET, *command]

    def add_host(self, name: str, port: int) -> None:
        """Let ``name`` (a pattern) mean this server through ``port``, a proxy's for instance."""
        self._hosts[name] = port
        self._write_client_config()

    @contextlib.contextmanager
    def control_master(self) -> Iterator[tuple[str, ...]]:
        """A warm ControlMaster; gives the options that make ``ssh()`` use it."""
        path = self.directory / "master"
        argv = self.ssh(options=("-M", "-N", "-S", str(path)))
        master = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            self._await(path.exists, master, "ssh -M")
            yield ("-S", str(path))
        finally:
            master.terminate()
            master.wait()

    # -- life ----------------------------------------------------------------------------------

    def __enter__(self) -> Sshd:
        missing = why_missing()
        if missing:
            raise RuntimeError(missing)
        self.directory.mkdir(parents=True, exist_ok=True)
        home = self.directory / "home"
        home.mkdir()
        for key in ("host_key", "id"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.directory / key)]
            subprocess.run(argv, check=True)
        shutil.copy(self.directory / "id.pub", self.directory / "authorized_keys")
        self._write_client_config()
        server_config = self._write_server_config(home)
        self._process = self._start(server_config, home)
        try:
            self._await(self._answers, self._process, "sshd")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._made_run_directory:
            with contextlib.suppress(OSError):
                RUN_DIRECTORY.rmdir()

    def log(self) -> str:
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- set-up ----------------------------------------------------------------------------------

    def _write_client_config(self) -> None:
        public = (self.directory / "host_key.pub").read_text().split()
        known = self.directory / "known_hosts"
        known.write_text(f"bench {public[0]} {public[1]}\n")
        common = f"""
            Host *
            HostName {HOST}
            User {self.user.pw_name}
            IdentityFile {self.directory / "id"}
            IdentitiesOnly yes
            UserKnownHostsFile {known}
            GlobalKnownHostsFile /dev/null
            HostKeyAlias bench
            StrictHostKeyChecking yes
            BatchMode yes
            LogLevel ERROR
            # ssh >= 9.5 holds keystrokes back to a 20 ms grid; off, the peer is at its fastest
            IgnoreUnknown ObscureKeystrokeTiming
            ObscureKeystrokeTiming no
        """
        hosts = [f"Host {name}\nPort {port}" for name, port in self._hosts.items()]
        lines = [line.strip() for line in common.splitlines()]
        self.config.write_text("\n".join([*hosts, *lines, ""]))

    def _write_server_config(self, home: Path) -> Path:
        path = self.directory / "sshd_config"
        text = f"""
            ListenAddress {HOST}:{self.port}
            ListenAddress {HOST}:{self.jump_port}
            HostKey {self.directory / "host_key"}
            AuthorizedKeysFile {self.directory / "authorized_keys"}
            PidFile none
            UsePAM no
            StrictModes no
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            PermitRootLogin prohibit-password
            UseDNS no
            PrintMotd no
            PrintLastLog no
            MaxStartups 500
            MaxSessions 500
            LogLevel ERROR
            Subsystem sftp {SFTP_SERVER}
            SetEnv HOME={home} LC_ALL=C.UTF-8
        """
        lines = [line.strip() for line in text.splitlines()]
        path.write_text("\n".join([*QUIET_NEWER, *self._settings, *lines]))
        if self._refused(path):
            path.write_text("\n".join([*self._settings, *lines]))
        return path

    def _refused(self, path: Path) -> bool:
        self._make_run_directory()
        check = subprocess.run([str(_program("sshd")), "-t", "-f", str(path)], capture_output=True)
        return check.returncode != 0

    def _make_run_directory(self) -> None:
        if os.getuid() == 0 and not RUN_DIRECTORY.exists():
            RUN_DIRECTORY.mkdir(mode=0o755)
            self._made_run_directory = True

    def _start(self, config: Path, home: Path) -> subprocess.Popen[bytes]:
        argv = [str(_program("sshd")), "-D", "-f", str(config), "-E", str(self.directory / "log")]
        if self._can_have_a_namespace():
            self.login_shell = self._shell
            argv = self._in_a_namespace(argv, home)
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def _can_have_a_namespace(self) -> bool:
        if os.getuid() != 0 or shutil.which("unshare") is None:
            return False
        probe = ["unshare", "--mount", "--propagation", "private", "true"]
        return subprocess.run(probe, capture_output=True).returncode == 0

    def _in_a_namespace(self, argv: list[str], home: Path) -> list[str]:
        """``argv`` where /etc/passwd gives our user /bin/sh and ``home``, and nobody locked it."""
        name = self.user.pw_name
        passwd, shadow = self.directory / "passwd", self.directory / "shadow"
        kept = [
            e for e in Path("/etc/passwd").read_text().splitlines() if not e.startswith(name + ":")
        ]
        entry = f"{name}:x:{self.user.pw_uid}:{self.user.pw_gid}::{home}:{self._shell}"
        passwd.write_text("\n".join([entry, *kept, ""]))
        shadow.write_text(f"{name}:*:19000:0:99999:7:::\n")
        script = (
            'mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/shadow && shift 2 && exec "$@"'
        )
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
        return [*enter, str(passwd), str(shadow), *argv]

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.jump_port), timeout=1) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False

    def _await(
        self, condition: Callable[[], bool], process: subprocess.Popen[bytes], what: str
    ) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not condition():
            if process.poll() is not None:
                raise RuntimeError(f"{what} ended with status {process.returncode}: {self.log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} didn't come up in {START_DEADLINE_S} s: {self.log()}")
            time.sleep(0.02)

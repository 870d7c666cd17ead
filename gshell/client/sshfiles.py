"""Files for stock ssh: a key, a certificate, known hosts, and the configuration that names them.
Knows no relay.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

from gshell import config
from gshell.errors import GshellError
from gshell.model.sshname import RELAY, SUFFIX

KEY, KNOWN, CONFIG, ALONE = "id_gshell", "known_hosts", "config", "config-alone"
MARK = "# gshell: jobs and agents as hosts (gshell ssh-config --uninstall removes this)"
FRESH_MINUTES = 480  # a certificate lasts twice as long


def folder() -> str:
    return config.private_dir(os.path.join(config.private_dir(config.config_dir()), "ssh"))


def own_key(path: str) -> str:
    """The public key (one line) of the key at ``path``, made if there is none.

    Raises:
        GshellError: OpenSSH's programs are missing, or fail.
    """
    if not os.path.exists(path):
        keygen = shutil.which("ssh-keygen")
        if keygen is None:
            raise GshellError("ssh-keygen is not installed here", hint="install OpenSSH's client")
        words = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "gshell", "-f", path]
        done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise GshellError(f"ssh-keygen failed: {done.stderr.decode(errors='replace').strip()}")
    return read_public(path + ".pub")


def read_public(path: str) -> str:
    """
    Raises:
        GshellError: no public key there.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(16384).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not a text"
        raise GshellError(
            f"cannot read the public key {path}: {why}", hint="gshell ssh-config --key FILE.pub"
        ) from None


def known_hosts(ca: str, relay_names: list[str]) -> str:
    """One line: whom that authority certifies is who they say they are."""
    names = [f"*{SUFFIX}", *(f"job{digit}*" for digit in range(1, 10)), *relay_names]
    return f"@cert-authority {','.join(names)} {ca}\n"


def _quoted(path: str) -> str:
    return '"' + path.replace("%", "%%") + '"'


def _command(*words: str) -> str:
    """A command line of ours, as ssh's configuration hands it to a shell; `%` means something."""
    env = []
    for name in ("GSHELL_HOME", "GSHELL_RELAY"):
        if os.environ.get(name):
            text = config.absolute_environment()[name]
            env.append(f"{name}={text}")
    line = shlex.join([*(["env", *env] if env else []), *config.entry(), *words])
    return line.replace("%", "%%")


def configuration(where: str, key: str, relay: tuple[str, int] | None, forward_agent: bool) -> str:
    """The text. ``where``: the directory of these files; ``key``: the private key, or the public
    one where an ssh-agent has the other; ``relay``: host and port, where it serves SSH."""
    private = key.removesuffix(".pub") if os.path.exists(key.removesuffix(".pub")) else key
    cert = os.path.join(where, KEY + "-cert.pub")
    jobs = " ".join(f"job{digit}*" for digit in range(1, 10))
    # Not older than that: a look costs nothing, and a Python only starts when it is.
    path = shlex.quote(cert).replace("%", "%%")
    fresh = f"find {path} -mmin -{FRESH_MINUTES} 2>/dev/null | grep -q ."
    renew = _command("ssh-config", "--renew")
    test = f"{fresh} || {renew}"
    known = os.path.join(where, KNOWN)
    common = f"""\
    IdentityFile {_quoted(private)}
    CertificateFile {_quoted(cert)}
    IdentitiesOnly yes
    UserKnownHostsFile {_quoted(known)}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    ForwardAgent {"yes" if forward_agent else "no"}
    ForwardX11 no
"""
    text = f"""\
# Written by gshell ssh-config; edits are lost with its next run.
Match host "*{SUFFIX},{jobs.replace(" ", ",")},{RELAY}" exec "{test}"
Host {jobs} *{SUFFIX}
{common}    ProxyCommand {_command("proxy", "--fdpass")} %h %p
    ProxyUseFdpass yes
"""
    if relay is not None:
        host, port = relay
        text += f"""\
Host {RELAY}
    HostName {host}
    Port {port}
    HostKeyAlias {RELAY}
{common}"""
    return text + "Match all\n"


def alone(where: str) -> str:
    """A configuration for `ssh -F`: ours, and the user's own after it."""
    return (
        f"Include {_quoted(os.path.join(where, CONFIG))}\n"
        f"Include {_quoted(users_config())}\n"
        "Include /etc/ssh/ssh_config\n"
    )


# ----------------------------------------------------------------------------- the user's own file


def users_config() -> str:
    return os.path.join(config.home(), ".ssh", "config")


def with_include(text: str, path: str) -> str:
    """The user's configuration with ours in front, once: in ssh's the first word counts, and an
    Include below a Host line would belong to that host.

    >>> with_include("Host x\\n", "/c").splitlines()[1:]
    ['Include "/c"', '', 'Host x']
    """
    return f"{MARK}\nInclude {_quoted(path)}\n\n{without_include(text)}"


def without_include(text: str) -> str:
    """As it was before `with_include`."""
    lines = text.splitlines(keepends=True)
    for at, line in enumerate(lines):
        if line.rstrip("\n") == MARK:
            after = 2 if lines[at + 1 : at + 2] and lines[at + 1].startswith("Include ") else 1
            if lines[at + after : at + after + 1] == ["\n"]:
                after += 1
            return "".join(lines[:at] + lines[at + after :])
    return text


def change_users_config(path: str, on: bool) -> bool:
    """Put our line into the user's file, or take it out; whether that changed anything.

    Raises:
        GshellError: it cannot be read or written.
    """
    name = os.path.realpath(users_config())  # it may be a link into somebody's dotfiles
    try:
        try:
            with open(name, encoding="utf-8", errors="surrogateescape", newline="") as file:
                before = file.read()
            mode = os.stat(name).st_mode & 0o777
        except FileNotFoundError:
            before, mode = "", 0o600
        after = with_include(before, path) if on else without_include(before)
        if after == before:
            return False
        os.makedirs(os.path.dirname(name), mode=0o700, exist_ok=True)
        fresh = f"{name}.{os.getpid()}.gshell"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(after)
        os.rename(fresh, name)
    except OSError as error:
        raise GshellError(
            f"cannot change {name}: {error.strerror}",
            hint="gshell ssh-config --print    shows what belongs there",
        ) from None
    return True

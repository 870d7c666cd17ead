"""The commands of other ways in: stock SSH and a browser. Knows not what they do."""

from __future__ import annotations

from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL

WEB = Command(
    "web",
    "serve shared jobs to browsers, while it runs",
    (
        Option("--listen", "HOST:PORT", "where (else 127.0.0.1:8080)", default="127.0.0.1:8080"),
        Option("--once", help="for one visit; it ends when that leaves"),
        Option("--name", "HOST", "a name by which browsers know it", repeat=True),
        Option("--cert", "FILE", "with TLS: its certificate (PEM)"),
        Option("--key", "FILE", "and that one's key"),
        Option("--clear", help="listen without TLS where others could read along"),
    ),
    examples=(
        ("gshell web", "for browsers on this machine"),
        ("gshell web --once", "until the first visitor leaves"),
    ),
    about="`gshell share ID --web URL` prints an address to open. The page is a terminal: who has "
    "the address sees the job and, if shared with --write, types. The session is decrypted in this "
    "process, so its visitors trust who runs it; the page says so. The secret is the part of the "
    "address behind #, which browsers do not send.",
    common=GLOBAL,
    module="gshell.cli.web",
    packages=True,
)
_SSH = "gshell.cli.ssh"
SSH_CONFIG = Command(
    "ssh-config",
    "let stock ssh, scp, sftp, rsync reach jobs and agents",
    (
        Option("--install", help="include it in ~/.ssh/config, whose other lines stay as they are"),
        Option("--uninstall", help="take that out again, and remove key and certificate"),
        Option("--print", help="print the configuration"),
        Option("--key", "FILE.pub", "certify this key of yours instead of one of its own"),
        Option("--forward-agent", help="let programs there use your ssh-agent"),
        Option("--renew", help="a new certificate; ssh does it by itself when the old one ages"),
    ),
    examples=(
        ("gshell ssh-config --install", "from now on: ssh job42"),
        ("gshell ssh-config --key ~/.ssh/id_ed25519.pub", "with a key that I have"),
    ),
    about="After that: ssh job42, scp -r results job42:, rsync, sftp, an editor's remote mode; or "
    "ssh -J gshell-relay job42, by way of the relay's SSH server. Jobs are hosts named job42 "
    "(job42.1: its second member), agents AGENT.gshell. A certificate lasts 16 hours and ends "
    "with this client's key; hosts are certified, too, so ssh asks nothing. What passes is "
    "encrypted between ssh and the node.",
    common=GLOBAL,
    module=_SSH,
)
PROXY = Command(
    "proxy",
    "a ProxyCommand for ssh: connect to a job's or an agent's node",
    (
        Option(
            "--fdpass", help="pass the connection to ssh (ProxyUseFdpass yes) instead of copying"
        ),
    ),
    words="HOST [PORT]",
    examples=(("gshell proxy job42 22", "ssh -o ProxyCommand='gshell proxy %h %p' job42"),),
    common=GLOBAL,
    module=_SSH,
)
SSH = Command(
    "ssh",
    "run ssh to a job's node or an agent, configured as by ssh-config",
    remainder="ID|AGENT [SSH-WORD...]",
    examples=(
        ("gshell ssh 42", "a shell beside job 42"),
        ("gshell ssh 42.1 -L 8888:localhost:8888", "options of ssh, as ever"),
        ("gshell ssh n014 uname -a", "on an agent"),
    ),
    common=GLOBAL,
    module=_SSH,
)
COMMANDS: tuple[Command, ...] = (SSH_CONFIG, PROXY, SSH, WEB)

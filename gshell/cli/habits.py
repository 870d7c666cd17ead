"""What people type who know other programs, as it is called here. Knows no command's table.

Looked at only when a word means nothing here: what one of these stands for is a suggestion.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Slurm, OAR, PBS, Grid Engine; tmux and screen; docker and kubectl; the shell.
COMMANDS = {
    "jobs": "ls list squeue qstat oarstat sacct status",
    "agents": "sinfo nodes hosts pbsnodes oarnodes qhost",
    "run": "srun exec",
    "mpi": "mpiexec mpirun orterun prterun",
    "submit": "sbatch qsub oarsub bsub",
    "cancel": "scancel qdel oardel bkill del delete kill-session terminate",
    "forget": "rm remove",
    "sh": "shell bash zsh new new-session salloc",
    "attach": "a at attach-session reattach sattach fg",
    "logs": "tail output",
    "show": "info describe inspect scontrol",
    "put": "upload push",
    "get": "download pull",
    "fwd": "forward port-forward tunnel",
    "rec": "record",
    "top": "htop watch",
    "doctor": "check diagnose",
    "config": "settings",
    "agent start": "start",
}
_COMMANDS = {word: name for name, words in COMMANDS.items() for word in words.split()} | {
    "agent list": "agents", "agent ls": "agents", "agent show": "agents", "agent status": "agents",
    "site list": "sites", "site ls": "sites", "site rm": "site remove",
    "site delete": "site remove", "pilot list": "pilots", "pilot ls": "pilots",
    "pilot stop": "pilot cancel", "sweep ls": "sweep list", "sweep start": "sweep run",
    "cast play": "play", "cast rec": "rec",
    "detach": "",
}  # fmt: skip
# The first of these that the command has; none: nothing that looks like it is meant.
_OPTIONS = {
    "--time": "--walltime", "--time-limit": "--walltime", "--mem": "--memory",
    "--nodes": "--agents", "--ntasks": "--tasks", "--np": "--tasks", "--job-name": "--name",
    "--chdir": "--cwd", "--workdir": "--cwd", "--wd": "--cwd", "--directory": "--cwd",
    "--export": "--env", "--tty": "--pty", "--interactive": "--pty", "--background": "--detach",
    "--bg": "--detach", "--daemon": "--detach", "--partition": "--queue --site",
    "--queue": "--site", "--host": "--agent", "--node": "--agent", "--nodelist": "--agent",
    "--hostname": "--agent", "--constraint": "--req", "--requirements": "--req",
    "--record": "--rec", "--format": "--fields --to", "--columns": "--fields",
    "--noheader": "--quiet", "--no-header": "--quiet", "--silent": "--quiet",
    "--all-users": "--everyone", "--users": "--user", "--readonly": "--read-only",
    "--states": "--state", "--no-color": "--color", "--version": "", "--follow": "--watch",
    "-d": "--detach --steal", "-i": "--pty", "-f": "--follow --force",
    "-c": "", "-p": "--queue", "-w": "--agent",
}  # fmt: skip


def command(word: str) -> str | None:
    """The command that is meant by ``word`` elsewhere; empty if there is none like it here, and
    None if nobody calls anything so."""
    return _COMMANDS.get(word)


def option(name: str, among: Iterable[str]) -> str | None:
    """Which of ``among`` is meant by ``name`` elsewhere; empty if none of them is, and None if
    nobody calls anything so."""
    meant = _OPTIONS.get(name)
    if meant is None:
        return None
    there = set(among)
    return next((one for one in meant.split() if one in there), "")

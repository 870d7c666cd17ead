"""The entry file, started by the launcher without ``site``. Knows only where to go next.

A script is compiled anew at each start, a module is not: so nearly nothing stands here.
"""

import sys

if sys.flags.no_site:  # -I -S: not even our own directory is on the path; last, to hide nothing
    sys.path.append(__file__.rpartition("/gshell/")[0])


def main() -> int:
    """Run the command line; the process's exit status."""
    argv = sys.argv[1:]
    if argv and argv[0] in ("run", "mpi", "sh", "attach", "logs"):
        from gshell.client.frontend import through_background

        status = through_background(argv)
        if status is not None:
            return status
    from gshell.cli.main import main as command_line

    return command_line(argv)


if __name__ == "__main__":
    sys.exit(main())

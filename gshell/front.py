"""The entry file, started by the launcher without ``site``. Knows only where to go next.

A script is compiled anew at each start, a module is not: so nearly nothing stands here.
"""

import sys

if sys.flags.no_site:  # -I -S: not even our own directory is on the path; last, to hide nothing
    sys.path.append(__file__.rpartition("/gshell/")[0])


def main() -> int:
    """Run the command line; the process's exit status."""
    from gshell.client.frontend import main as front

    return front()


if __name__ == "__main__":
    sys.exit(main())

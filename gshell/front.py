"""The entry file, started by the launcher without ``site``. Knows only where to go next."""

import sys


def main() -> int:
    """Run the command line; the process's exit status."""
    from gshell import __version__

    if sys.argv[1:] == ["version"]:
        print(f"gshell {__version__}")
        return 0
    print("gshell: this command is still being built", file=sys.stderr)
    return 125


if __name__ == "__main__":
    if sys.flags.no_site:  # -I -S: not even our own directory is on the path; last, to hide nothing
        sys.path.append(__file__.rpartition("/gshell/")[0])
    sys.exit(main())

"""``python3 -I -S .../gshell/agent/__main__.py``: an agent, without ``site``."""

import sys

if sys.flags.no_site:
    sys.path.append(__file__.rpartition("/gshell/agent/")[0])

from gshell.agent.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

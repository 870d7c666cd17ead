"""``python -m gshell``, for layouts the launcher doesn't know."""

import sys

from gshell.front import main

sys.exit(main())

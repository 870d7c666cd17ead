"""Makes third-party packages importable after a start without ``site``. Knows no package by name.

The launcher runs ``python -I -S -X gshell_site=DIR ROOT/gshell/front.py``: leaving ``site`` out is
worth several milliseconds, and the fast path needs nothing that it would find. Whatever needs
prompt_toolkit, rich, asyncssh, zmq or cryptography calls `enable` first.
"""

from __future__ import annotations

import os
import sys

OPTION = "gshell_site"  # -X gshell_site=DIR: the site-packages gshell (or its .pth) is installed in

_enabled = False


def root() -> str:
    """The directory that holds the package ``gshell``: site-packages, a checkout, or a .pyz."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def enable() -> None:
    """Make third-party packages importable. Cheap when they are already, or when called again.

    Covers a virtual environment (`site` finds it from the interpreter's path, also under -S), the
    system's own packages, the user's (-I hides them; if gshell is installed there, so is what it
    needs), and the .pth files of all of these, hence editable installations.
    """
    global _enabled
    if _enabled or not sys.flags.no_site:
        return
    _enabled = True

    import site  # 4 ms: only on the slow path

    site.main()
    installed_in = sys._xoptions.get(OPTION)
    if not isinstance(installed_in, str):
        installed_in = root()
    # A checkout has no .pth files; it would bring tests/ and examples/ along.
    is_checkout = os.path.basename(installed_in) not in ("site-packages", "dist-packages")
    if not is_checkout and installed_in not in sys.path:
        site.addsitedir(installed_in)
    if root() not in sys.path:
        sys.path.append(root())


def interpreter() -> list[str]:
    """The start of an argv that runs Python again as this process was started."""
    if not sys.flags.no_site:
        return [sys.executable]
    option = sys._xoptions.get(OPTION)
    return [sys.executable, "-I", "-S", *(["-X", f"{OPTION}={option}"] if option else [])]

"""Found instead of the room `experiments` where a tool is run by its path: see lib.py."""

import lib  # noqa: F401

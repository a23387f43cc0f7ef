"""Found instead of the room `lib` where a tool is run by its path: says how to run it.

Python then looks for modules in tools/ first, where lmdb.py or inspect.py would also stand in for
the packages of these names.
"""

import sys
from pathlib import Path

if __name__ == "lib":
    _tool = Path(sys.argv[0]).resolve()
    print(
        f"error: run it in {_tool.parents[1]} as: python -m tools.{_tool.stem}",
        file=sys.stderr,
    )
    sys.exit(2)

"""Is this Python new enough, and can it make a virtual environment? Runs on any Python 3."""

import importlib.util
import sys

NEEDED = (3, 11)


def main() -> None:
    """Exit with one line that says what to do, unless all is well."""
    here = f"Python {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
    if sys.version_info < NEEDED:
        needed = f"{NEEDED[0]}.{NEEDED[1]}"
        sys.exit(
            f"error: Python {needed} or newer is needed, this is {here}; "
            "name one: make PYTHON=/path/to/python3"
        )
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        sys.exit(
            f"error: {here} has no venv module; Debian has it in a package: "
            "apt-get install python3-venv"
        )


if __name__ == "__main__":
    main()

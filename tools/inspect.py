"""Print a .caffemodel layer by layer beside CaffeNet: what would be copied, and what is wrong."""

from __future__ import annotations

from pathlib import Path

from lib.caffe.client import find_engine
from lib.cli import Parser, run
from models.compare import compare


def main() -> None:
    """Command line: see --help."""
    parser = Parser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="the .caffemodel to look at")
    parser.add_argument(
        "--last-layer", help="its classifier, which must be there (default: any or none)"
    )
    arguments = parser.parse_args()
    comparison = compare(find_engine(), arguments.weights, arguments.last_layer)
    print(comparison.table())
    comparison.require()
    print(f"fits CaffeNet: {len(comparison.copied)} layers are copied when training starts from it")


if __name__ == "__main__":
    run(main)

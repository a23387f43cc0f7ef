"""Print a .caffemodel layer by layer beside its net: what would be copied, and what is wrong.

The net is that of the card in the file's folder, CaffeNet where there is none.
"""

from __future__ import annotations

from pathlib import Path

from lib.caffe.client import find_engine
from lib.cli import Parser, run
from models.cards import CARD, load_card
from models.compare import compare
from models.nets import compare_with_card


def main() -> None:
    """Command line: see --help."""
    parser = Parser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="the .caffemodel to look at")
    parser.add_argument(
        "--last-layer", help="its classifier, which must be there (default: any or none)"
    )
    arguments = parser.parse_args()
    folder = arguments.weights.resolve().parent
    if (folder / CARD).is_file() and not arguments.last_layer:
        card = load_card(folder.name, folder.parent)
        comparison = compare_with_card(find_engine(), arguments.weights, card)
    else:
        comparison = compare(find_engine(), arguments.weights, arguments.last_layer)
    print(comparison.table())
    comparison.require()
    copied = len(comparison.copied)
    print(f"fits {comparison.net}: {copied} layers are copied when training starts from it")


if __name__ == "__main__":
    run(main)

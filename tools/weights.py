"""Put the original weights of an init and their mean in place, verified (models/<init>/)."""

from __future__ import annotations

from pathlib import Path

from datasets.mean import read_mean, write_mean
from lib.caffe.client import find_engine
from lib.cli import Parser, run
from lib.errors import UserError
from lib.fetch import TIMEOUTS, Timeouts
from models.cards import MODELS, Card, find_card, load_cards
from models.get import Checks, get
from models.nets import check_card_weights


def main() -> None:
    """Command line: see --help."""
    parser = Parser(
        description=__doc__,
        epilog="Downloads go on where they broke off. Addresses and checksums: the init's card.",
    )
    parser.add_argument(
        "--init",
        help="hybrid, memnet, ... (default: every init with CaffeNet's net, as the paper has)",
    )
    parser.add_argument("--file", type=Path, help="a .caffemodel, or a .tar.gz with it, you have")
    parser.add_argument("--mean", type=Path, help="a mean you have: .binaryproto, .npy or .tar.gz")
    parser.add_argument(
        "--stall", type=float, default=TIMEOUTS.stall, help="seconds without a byte (%(default)s)"
    )
    parser.add_argument("--models", type=Path, default=MODELS, help="the folder of the cards")
    parser.add_argument(
        "--require-verified",
        action="store_true",
        help="refuse what comes over plain http and has no known checksum",
    )
    parser.add_argument(
        "--any-order",
        action="store_true",
        help="take even weights of a net with another order of layers",
    )
    arguments = parser.parse_args()
    if not arguments.init and (arguments.file or arguments.mean):
        raise UserError("say whose file it is: --init")
    if arguments.init:
        cards = [find_card(arguments.init, arguments.models)]
    else:
        cards = [card for card in load_cards(arguments.models) if card.net == "caffenet"]
    engine = find_engine()

    def fit(weights: Path, card: Card) -> None:
        check_card_weights(
            engine,
            weights,
            card,
            load_cards(arguments.models),
            any_order=arguments.any_order,
        )

    checks = Checks(weights=fit, read_mean=read_mean, write_mean=write_mean)
    failures = []
    for card in cards:
        try:
            get(
                card,
                checks,
                say=print,
                root=arguments.models,
                file=arguments.file,
                mean=arguments.mean,
                timeouts=Timeouts(stall=arguments.stall),
                require_verified=arguments.require_verified,
            )
        except UserError as error:  # the others may be had all the same
            failures.append(f"{card.init}: {error}")
    if failures:
        raise UserError("; ".join(failures))


if __name__ == "__main__":
    run(main)

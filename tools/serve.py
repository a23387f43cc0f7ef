"""Serve the search page: on this machine alone, unless --host says otherwise."""

from __future__ import annotations

from experiments.similarity.choose_collection import CollectionChoice, add_collection_flags
from experiments.similarity.index import NAMED
from experiments.similarity.page.start import HOST, PORT, QUEUE, serve_page
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, positive, run


def main() -> None:
    """Serve till Ctrl-C."""
    parser = Parser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, help="runs or inits with features")
    add_collection_flags(parser)
    parser.add_argument(
        "--index",
        default="exact",
        help=f"{', '.join(NAMED)}, or a word of faiss.index_factory (%(default)s)",
    )
    parser.add_argument("--host", default=HOST, help="address to serve on (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="%(default)s; 0: any free one")
    parser.add_argument(
        "--queue",
        type=positive,
        default=QUEUE,
        help="images that may wait for the engine (%(default)s)",
    )
    add_device_flags(parser)
    asked = parser.parse_args()
    serve_page(
        asked.models,
        CollectionChoice(
            asked.task, asked.images, asked.split, asked.split_seed, asked.parts, asked.raw
        ),
        lambda: pick_device(asked.gpu, asked.threads),
        host=asked.host,
        port=asked.port,
        index=asked.index,
        queue=asked.queue,
    )


if __name__ == "__main__":
    run(main)

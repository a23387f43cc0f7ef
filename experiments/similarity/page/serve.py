"""Serve the search page: on this machine alone, unless --host says otherwise."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import socket
from contextlib import closing
from pathlib import Path

from experiments.similarity.artworks import artworks
from experiments.similarity.collection_flags import add_collection_flags, collection_from
from experiments.similarity.extra import load
from experiments.similarity.extraction import Extractor
from experiments.similarity.feature_models import FC7, find_model
from experiments.similarity.index import KINDS, index_kind
from experiments.similarity.page.engine import EngineQueue
from experiments.similarity.page.gallery import Gallery
from experiments.similarity.page.thumbs import Thumbs
from experiments.similarity.page.uploads import Decoder, Uploads
from experiments.similarity.search import open_features, open_index
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, positive, run
from lib.errors import UserError

CACHE = Path(".cache/page")


def main() -> None:
    """Open the collection and the indexes, then serve till Ctrl-C."""
    arguments = _flags().parse_args()
    for name in ("faiss", "fastapi", "uvicorn"):
        load(name)
    from experiments.similarity.page.app import make_app
    from experiments.similarity.page.server import Server

    models = list({(each := find_model(word)).name: each for word in arguments.models}.values())
    listener = _listen(arguments.host, arguments.port)
    collection = collection_from(arguments)
    device = pick_device(arguments)
    sets = [open_features(model, collection) for model in models]
    gone = [item.image for item in sets[0].items if not (collection.root / item.image).is_file()]
    if len(gone) == len(sets[0]):
        raise UserError(
            f"none of the collection's images is in {collection.root} any more ({gone[0]}, ...): "
            "put them back, or make lists, LMDBs and features again"
        )
    if gone:
        print(
            f"warning: {len(gone):,} images are not in {collection.root} any more: {gone[0]}, ..."
        )
    indexes = [open_index(features, arguments.index) for features in sets]
    gallery = Gallery(collection, models, indexes, artworks(collection))
    cache = CACHE / f"{collection.name}-{collection.fingerprint[:12]}"
    engine, decoder = EngineQueue(Extractor(device), arguments.queue), Decoder()
    with closing(engine), closing(decoder):
        for model in models:  # the first visitor need not wait for the weights
            engine.extractor.dims(model, FC7, batch=1)
        decoder.warm()
        app = make_app(
            gallery,
            engine,
            Thumbs(gallery, cache / "thumbnails"),
            Uploads(cache / "uploads"),
            decoder,
            _names(arguments.host),
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{port}/  ({len(gallery):,} images; Ctrl-C ends it)", flush=True)
        Server(app, engine.close).run([listener])
    print("the page is closed")


def _listen(host: str, port: int) -> socket.socket:
    """A socket to serve on, had before the long work begins: visitors wait till it is done."""
    if not 0 <= port <= 65535:
        raise UserError(f"PORT={port}: a port is a number from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except UnicodeError:  # labels that are too long or empty
        raise UserError(f"HOST={host}: that is no host's name") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = "another program has that port; another PORT=, or PORT=0 for a free one"
        elif error.errno == errno.EACCES:
            why = "you may not use that port; a PORT= above 1023, or PORT=0 for a free one"
        else:
            why = f"{error.strerror}; HOST= must be an address of this machine"
        raise UserError(f"can't serve on {host}, port {port}: {why}") from None
    if not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        print(f"warning: everyone who can reach {host} can use this page", flush=True)
    return listener


def _names(host: str) -> list[str]:
    """The host names that a browser may ask for: others are a page from elsewhere in disguise."""
    if host in ("0.0.0.0", "::"):
        return ["*"]
    return sorted({"localhost", "127.0.0.1", "[::1]", host})


def _flags() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, help="runs or inits with features")
    add_collection_flags(parser)
    parser.add_argument(
        "--index", type=index_kind, default="exact", help=f"{', '.join(KINDS)} (%(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (%(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="%(default)s; 0: any free one")
    parser.add_argument(
        "--queue",
        type=positive,
        default=8,
        help="images that may wait for the engine (%(default)s)",
    )
    add_device_flags(parser)
    return parser


if __name__ == "__main__":
    run(main)

"""Start the search page: on this machine alone, unless HOST= says otherwise."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from experiments.similarity.artworks import artworks
from experiments.similarity.choose_collection import CollectionChoice
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import find_model
from experiments.similarity.index import index_word
from experiments.similarity.neighbours import check_indexes, open_features, open_index
from experiments.similarity.optional_packages import load
from lib.caffe.device import Device
from lib.errors import UserError

HOST, PORT, QUEUE = "127.0.0.1", 8765, 8
CACHE = Path(".cache/page")


def serve_page(
    words: Sequence[str],
    choice: CollectionChoice,
    pick: Callable[[], Device],
    *,
    host: str = HOST,
    port: int = PORT,
    index: str = "exact",
    queue: int = QUEUE,
) -> None:
    """Open the collection and the indexes of the models `words`, then serve till Ctrl-C.

    `queue`: images that may wait for the engine. `pick` gives the device once all else is known to
    be right. Raises UserError for what is not there.
    """
    for name in ("faiss", "fastapi", "uvicorn"):
        load(name)
    from experiments.similarity.page.app import make_app
    from experiments.similarity.page.engine import EngineQueue
    from experiments.similarity.page.gallery import Gallery
    from experiments.similarity.page.guard import allowed_names
    from experiments.similarity.page.page_parts import Page
    from experiments.similarity.page.server import Server
    from experiments.similarity.page.thumbs import Thumbs
    from experiments.similarity.page.uploads import Decoder, Uploads

    index_word(index)
    models = list({(each := find_model(word)).name: each for word in words}.values())
    listener = _listen(host, port)
    collection = choice.open()
    device = pick()
    sets = [open_features(model, collection) for model in models]
    check_indexes(index, sets)
    gone = [item.image for item in sets[0].items if not (collection.root / item.image).is_file()]
    if len(gone) == len(sets[0]) and not collection.data:
        raise UserError(
            f"none of the collection's images is in {collection.root} any more ({gone[0]}, ...): "
            "put them back"
        )
    if gone:
        instead = "; shown are the square ones of the LMDBs" if collection.data else ""
        print(
            f"warning: {len(gone):,} images are not in {collection.root} any more: {gone[0]}, ..."
            f"{instead}"
        )
    indexes = [open_index(features, index) for features in sets]
    gallery = Gallery(collection, models, indexes, artworks(collection, choice.raw))
    cache = CACHE / f"{collection.name}-{collection.fingerprint[:12]}"
    engine, decoder = EngineQueue(Extractor(device), queue), Decoder()
    with closing(engine), closing(decoder):
        for model in models:  # the first visitor need not wait for the weights
            engine.extractor.dims(model, model.blob, batch=1)
        decoder.warm()
        thumbs, uploads = Thumbs(gallery, cache / "thumbnails"), Uploads(cache / "uploads")
        app = make_app(Page(gallery, engine, thumbs, uploads, decoder), allowed_names(host))
        address, number = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        print(f"http://{shown}:{number}/  ({len(gallery):,} images; Ctrl-C ends it)", flush=True)
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
        print(
            f"warning: everyone who can reach this machine at {host} can now see all images and "
            f"labels, and the uploads that they have a link to; HOST={HOST} keeps them to yourself",
            flush=True,
        )
    return listener

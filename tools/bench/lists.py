"""Seconds from WikiArt's records to the lists of a task, for as many artworks as the paper had.

    python -m tools.bench.lists            about a minute

The records (one JSON file an artist) and their image files, empty ones, are made for the purpose.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lib.cli import Parser, positive, run
from lib.errors import UserError

ARTISTS = 1_500
GENRES = ("landscape", "portrait", "still life", "abstract")
STYLES = ("Realism", "Cubism", "Baroque")


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__)
    parser.add_argument("--number", type=positive, default=133_220, help="artworks (%(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-lists-") as scratch:
        raw = Path(scratch)
        _write_records(raw / "wikiart", args.number)
        for split in ("by_image", "by_work"):
            start = time.monotonic()
            _make_lists(raw, split)
            seconds = time.monotonic() - start
            print(f"lists of {args.number:,} records, {split}: {seconds:.1f} s (aim: 20)")


def _write_records(folder: Path, number: int) -> None:
    (folder / "meta").mkdir(parents=True)
    for artist in range(ARTISTS):
        images = folder / "images" / f"artist-{artist}" / "1888"
        images.mkdir(parents=True)
        records = []
        for row in range(artist, number, ARTISTS):
            records.append(
                {
                    "contentId": row + 1,
                    "title": f"Work {row}",
                    "artistName": f"Artist {artist}",
                    "artistUrl": f"artist-{artist}",
                    "completitionYear": 1888,
                    "image": f"https://uploads.example.org/{row}.jpg!Large.jpg",
                    "genre": GENRES[row % len(GENRES)],
                    "style": STYLES[row % len(STYLES)],
                }
            )
            (images / f"{row + 1}.jpg").touch()
        (folder / "meta" / f"artist-{artist}.json").write_text(json.dumps(records))


def _make_lists(raw: Path, split: str) -> None:
    command = [sys.executable, "-m", "tools.lists", "--task", "wikiart_style", "--raw"]
    command += [str(raw), "--split", split, "--data-folder", str(raw / split)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"make_lists failed: {done.stderr.splitlines()[-1]}")


if __name__ == "__main__":
    run(main)

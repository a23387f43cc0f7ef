"""What every failed installation ends with: the other ways to a Caffe."""

from __future__ import annotations

from lib.errors import UserError

WAYS_OUT = (
    "ways out: DEBIAN_MIRROR=<the http address of a Debian mirror that has bullseye; once it has "
    "left the mirrors, that of Debian's archive of old releases>, CAFFE_DEBS=<a folder with the "
    "packages named in lib/caffe/caffe.lock>, CAFFE_PYTHON=<a Python that can import caffe>, or "
    "the Dockerfile"
)


def no_caffe(why: str) -> UserError:
    """The error for an installation that cannot go on, with the ways out."""
    return UserError(f"cannot install Caffe: {why}; {WAYS_OUT}")

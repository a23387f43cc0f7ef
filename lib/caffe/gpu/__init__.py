"""Builds BVLC Caffe 1.0 for today's GPUs from Debian 11's source package, which is not edited."""

"""Installs BVLC Caffe 1.0 from Debian 11's packages into a folder: no root, nothing compiled."""

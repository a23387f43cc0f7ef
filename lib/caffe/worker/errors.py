"""The worker's own error: a problem it found before Caffe could abort on it."""


class WorkerError(Exception):
    """Its message is one line for the user."""

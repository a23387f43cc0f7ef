"""Layers in Python: where their modules are looked for, and what is wrong with them.

Caffe imports a module by its name (python_param.module), prints what goes wrong to its log, and
says nothing else. So modules are imported here first, and a fault becomes one line.
"""

import importlib
import os
import sys
import traceback

from errors import WorkerError

VARIABLE = "CAFFE_LAYERS"  # folders with modules, with colons between


def look_in_users_folders():
    """Let modules be found in the folders of CAFFE_LAYERS, then in the current folder.

    They come after Python's own, so that no file there takes the place of a module of Python's.
    """
    for folder in [*os.environ.get(VARIABLE, "").split(os.pathsep), os.getcwd()]:
        _add(folder)


def load(layers, path):
    """Import the modules of the Python layers among `layers`, of the net in the prototxt `path`.

    They are looked for in the folder of `path` too. Raises WorkerError with a module's own error.
    """
    for layer in layers:
        if layer.type != "Python":
            continue
        _add(os.path.dirname(os.path.abspath(path)))
        module, name = layer.python_param.module, layer.python_param.layer
        at = "{}: layer '{}': ".format(path, layer.name)
        try:
            loaded = importlib.import_module(module)
        except ImportError as error:
            if getattr(error, "name", None) != module:  # it is there, and imports what is not
                raise WorkerError(at + _words(module, error)) from None
            raise WorkerError(
                "{}there is no Python module '{}' in the folder of the prototxt, nor in {}; "
                "{}=<its folder> names another".format(at, module, os.getcwd(), VARIABLE)
            ) from None
        except Exception as error:
            raise WorkerError(at + _words(module, error)) from None
        if not hasattr(loaded, name):
            raise WorkerError(
                "{}the Python module {} has no '{}'".format(at, loaded.__file__, name)
            )


def _add(folder):
    if folder and folder not in sys.path:
        sys.path.append(folder)


def _words(module, error):
    """An exception in a module, with the line that it comes from."""
    what = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    frames = traceback.extract_tb(error.__traceback__)
    where = ""
    if isinstance(error, SyntaxError):
        where = " ({}, line {})".format(error.filename, error.lineno)
    elif frames:
        where = " ({}, line {})".format(frames[-1][0], frames[-1][1])
    return "its Python module '{}' can't be loaded: {}{}".format(module, what, where)

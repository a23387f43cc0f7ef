"""blobs: how far the weights of two .caffemodels lie apart, layer by layer."""

import caffemodel
import numpy


def run(request, emit):
    """Compare `request["weights"]` with `request["with"]`, layers by name, blobs in order.

    Returns layers in the order of the first file, then those that only the second has: name,
    shapes of each (None where it has no such layer), and blobs: for each that both have in one
    shape, equal (bit for bit), largest (absolute difference), rms (of the difference), scale (rms
    of the first), cosine, finite. Legacy 4-D shapes count as equal without their leading ones.

    Raises WorkerError for a file that is empty, foreign, truncated or broken.
    """
    ones = layers_of(request["weights"])
    others = layers_of(request["with"])
    names = list(ones) + [name for name in others if name not in ones]
    return {"layers": [compare(name, ones.get(name), others.get(name)) for name in names]}


def layers_of(path):
    """Name -> layer, in the file's order; of two with one name, Caffe's copying keeps the last."""
    _, layers = caffemodel.read(path)
    return {layer.name: layer for layer in layers}


def compare(name, one, other):
    blobs = []
    if one and other:
        for mine, its in zip(one.blobs, other.blobs):
            if trimmed(mine) == trimmed(its):
                blobs.append(differ(mine.array(), its.array()))
            else:
                blobs.append(None)
    return {"name": name, "shapes": [shapes(one), shapes(other)], "blobs": blobs}


def differ(one, other):
    """The numbers of one pair of blobs; not finite ones are left out of all but `equal`."""
    one = numpy.ascontiguousarray(one, "<f4").ravel()
    other = numpy.ascontiguousarray(other, "<f4").ravel()
    finite = numpy.isfinite(one) & numpy.isfinite(other)
    a, b = one[finite].astype(numpy.float64), other[finite].astype(numpy.float64)
    gap = a - b
    lengths = float(numpy.sqrt((a * a).sum()) * numpy.sqrt((b * b).sum()))
    return {
        "equal": bool(numpy.array_equal(one.view("<u4"), other.view("<u4"))),
        "finite": bool(finite.all()),
        "largest": float(numpy.abs(gap).max()) if gap.size else 0.0,
        "rms": rms(gap),
        "scale": rms(a),
        "cosine": float((a * b).sum() / lengths) if lengths else None,
    }


def rms(values):
    return float(numpy.sqrt(numpy.mean(values * values))) if values.size else 0.0


def trimmed(blob):
    """A blob's shape without the leading ones of the legacy form."""
    shape = [int(size) for size in blob.shape]
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def shapes(layer):
    return [[int(size) for size in blob.shape] for blob in layer.blobs] if layer else None

"""extract: the values of one blob of a deploy net, for images."""

import nets
import numpy
from errors import WorkerError


def run(request, emit):
    """Compute a blob for `count` images and write it to a file.

    request: deploy, weights, mean (paths), net (the run's own train_val, or None), blob ("fc7":
    after its ReLU, which works in place), batch (images in one forward pass, None for the deploy
    net's own; the last pass is filled up with zeros, so that each is computed the same way), images
    (path of raw uint8 pixels, BGR, count x 3 x height x width), count, size ([height, width]), out
    (path to write: raw float32, count x dims, where None writes nothing), gpu (device or None).
    Events: images. Returns dims, shape (of one image's blob) and batch. Raises WorkerError on a NaN
    or infinite value, and for nets and weights that cannot do it.
    """
    model = nets.load(request, request["gpu"], request["blob"], request["batch"])
    net, batch, count = model.net, model.batch(), request["count"]
    values = net.blobs[request["blob"]].data
    if not len(values.shape) or values.shape[0] != batch:
        raise WorkerError(
            "blob '{}' of {} has no row for each image".format(request["blob"], request["deploy"])
        )
    shape = [int(size) for size in values.shape[1:]]
    answer = {"dims": int(numpy.prod(shape)), "shape": shape, "batch": batch}
    if request["out"] is None:
        return answer
    pixels = (
        numpy.memmap(request["images"], numpy.uint8, "r", shape=(count, 3, *request["size"]))
        if count
        else numpy.empty((0, 3, 1, 1), numpy.uint8)
    )
    with open(request["out"], "wb") as out:
        for start in range(0, count, batch):
            some = pixels[start : start + batch]
            model.feed(some)
            net.forward()
            values = net.blobs[request["blob"]].data[: len(some)].reshape(len(some), -1)
            if not numpy.isfinite(values).all():
                raise WorkerError(
                    "blob '{}' is NaN or infinite: the weights of {} are broken".format(
                        request["blob"], request["weights"]
                    )
                )
            out.write(numpy.ascontiguousarray(values, "<f4").tobytes())
            emit("images", done=start + len(some))
    return answer

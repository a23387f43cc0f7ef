"""Small stand-ins for the original weights, written by real Caffe in each of its forms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.warm_engine import WarmEngine

# As CaffeNet's layers, smaller: a convolution, one with two groups, inner products.
SMALL: dict[str, tuple[tuple[int, ...], ...]] = {
    "conv1": ((4, 3, 3, 3), (4,)),
    "conv2": ((6, 2, 3, 3), (6,)),
    "fc6": ((5, 24), (5,)),
}
CLASSIFIER: dict[str, tuple[tuple[int, ...], ...]] = {"fc8_small": ((2, 5), (2,))}

# argv: target, form, the layers as JSON. The numbers are those of a seeded generator.
_WRITE = """
import json, sys
import numpy
from caffe.proto import caffe_pb2
target, form, layers = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
random = numpy.random.RandomState(7)
net = caffe_pb2.NetParameter(name="small")
if form == "V0":
    net.input.append("data")
    net.input_dim.extend([1, 3, 6, 6])
v1 = caffe_pb2.V1LayerParameter
for name, shapes in layers.items():
    conv = len(shapes[0]) == 4
    if form == "V2":
        layer = net.layer.add(name=name, type="Convolution" if conv else "InnerProduct")
        blobs = layer.blobs
    elif form == "V1":
        layer = net.layers.add(name=name, type=v1.CONVOLUTION if conv else v1.INNER_PRODUCT)
        blobs = layer.blobs
    else:
        outer = net.layers.add()
        layer = outer.layer
        layer.name, layer.type = name, "conv" if conv else "innerproduct"
        blobs = layer.blobs
    layer_bottom = net.layers[-1].bottom if form == "V0" else layer.bottom
    layer_bottom.append("data")
    (net.layers[-1].top if form == "V0" else layer.top).append(name)
    for shape in shapes:
        blob = blobs.add()
        blob.data.extend(random.standard_normal(int(numpy.prod(shape))).astype("f4").tolist())
        if form == "V2":
            blob.shape.dim.extend(shape)
        else:
            four = [1] * (4 - len(shape)) + shape
            blob.num, blob.channels, blob.height, blob.width = four
with open(target, "wb") as handle:
    handle.write(net.SerializeToString())
"""


def write_small(
    engine: WarmEngine,
    target: Path,
    form: str = "V2",
    layers: Mapping[str, object] | None = None,
) -> Path:
    """Write a .caffemodel of these layers; V1 and V0 get legacy 4-D blobs, as they had."""
    engine.run(
        _WRITE, target, form, json.dumps(layers if layers is not None else SMALL | CLASSIFIER)
    )
    return target

"""Exact resumption, which Caffe lacks: bring data cursor and random numbers to where they were.

A .solverstate restores iteration, weights and momentum, but the data starts again at record 0 with
fresh random numbers. With the same random_seed, running only the layers that read data or draw
random numbers, as often as training had, replays cursor, crops, mirrors and dropout masks; no
convolution is computed.
"""

READ_DATA = ("Data", "ImageData", "WindowData", "HDF5Data", "MemoryData", "DummyData")
DRAW = ("Dropout",)


def replay(net, passes, tell):
    """Run the data and random layers forward `passes` times; `tell(done, passes)` each time."""
    steps = [
        index
        for index, (name, layer) in enumerate(zip(net._layer_names, net.layers))
        if layer.type in READ_DATA + DRAW
        or (layer.type == "Python" and not net.bottom_names[name])  # it gives data of its own
    ]
    for done in range(1, passes + 1):
        for index in steps:
            net._forward(index, index)
        tell(done, passes)

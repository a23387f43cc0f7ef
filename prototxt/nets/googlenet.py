"""GoogLeNet (Szegedy et al. 2015), with the layer names of BVLC's weights.

Nine Inception modules look at the same maps in four ways: 1x1, 3x3 and 5x5 convolutions (the larger
ones after a 1x1 that reduces the maps) and a pooling, put together again.
"""

from __future__ import annotations

from prototxt.nets.layers import convolution, header, layer, learnt, pooling, relu, softmax

# Module -> maps of the 1x1, before and of the 3x3, before and of the 5x5, after the pooling.
_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
# BVLC's own fillers: Xavier for all weights, 0.2 for all biases.
_FILLER = 'type: "xavier"'
_LRN = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"


def deploy() -> str:
    """GoogLeNet without its auxiliary heads: 6,998,552 numbers that learn."""
    text = header(
        "# GoogLeNet (Szegedy et al. 2015), with the names of BVLC's weights. The two auxiliary\n"
        "# heads, which only helped to train it from nothing, are left out.\n",
        "GoogleNet",
        224,
    )
    text += "\n" + _unit("conv1/7x7_s2", "data", 64, 7, 2, relu_name="conv1/relu_7x7")
    text += pooling("pool1/3x3_s2", "conv1/7x7_s2", "MAX", "kernel_size: 3", "stride: 2")
    text += layer("pool1/norm1", "LRN", "pool1/3x3_s2", "pool1/norm1", _LRN)
    text += _unit("conv2/3x3_reduce", "pool1/norm1", 64, 1)
    text += _unit("conv2/3x3", "conv2/3x3_reduce", 192, 3)
    text += layer("conv2/norm2", "LRN", "conv2/3x3", "conv2/norm2", _LRN)
    text += pooling("pool2/3x3_s2", "conv2/norm2", "MAX", "kernel_size: 3", "stride: 2")
    below = "pool2/3x3_s2"
    for module, maps in _MODULES.items():
        text += f"\n# ---- inception_{module} ----\n\n" + _module(
            f"inception_{module}", below, *maps
        )
        below = f"inception_{module}/output"
        if module in ("3b", "4e"):
            name = f"pool{module[0]}/3x3_s2"
            text += pooling(name, below, "MAX", "kernel_size: 3", "stride: 2")
            below = name
    text += "\n# ---- The classifier ----\n\n"
    text += pooling("pool5/7x7_s1", below, "AVE", "kernel_size: 7", "stride: 1")
    dropped = ("dropout_param { dropout_ratio: 0.4 }   # in training only",)
    text += layer("pool5/drop_7x7_s1", "Dropout", "pool5/7x7_s1", "pool5/7x7_s1", *dropped)
    text += learnt(
        "loss3/classifier", "InnerProduct", "pool5/7x7_s1", "num_output: 1000", filler=_FILLER
    )
    return text + softmax("loss3/classifier")


def _module(
    name: str, below: str, one: int, three_in: int, three: int, five_in: int, five: int, pooled: int
) -> str:
    """An Inception module."""

    def at(part: str) -> str:
        return f"{name}/{part}"

    text = _unit(at("1x1"), below, one, 1)
    text += _unit(at("3x3_reduce"), below, three_in, 1) + _unit(
        at("3x3"), at("3x3_reduce"), three, 3
    )
    text += _unit(at("5x5_reduce"), below, five_in, 1) + _unit(at("5x5"), at("5x5_reduce"), five, 5)
    text += pooling(at("pool"), below, "MAX", "kernel_size: 3", "stride: 1", "pad: 1")
    text += _unit(at("pool_proj"), at("pool"), pooled, 1)
    parts = [at("1x1"), at("3x3"), at("5x5"), at("pool_proj")]
    return text + layer(at("output"), "Concat", parts, at("output"))


def _unit(
    name: str, bottom: str, maps: int, kernel: int, stride: int = 1, *, relu_name: str = ""
) -> str:
    """A convolution that keeps the size (but for its stride), and its ReLU."""
    folder, _, part = name.rpartition("/")
    text = convolution(name, bottom, maps, kernel, stride, kernel // 2, filler=_FILLER)
    text = text.replace("value: 0 }", "value: 0.2 }")
    return text + relu(relu_name or f"{folder}/relu_{part}", name)

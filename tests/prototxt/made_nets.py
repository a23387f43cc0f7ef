"""Small nets of every kind, as people write them: what a model zoo may hold."""

from __future__ import annotations

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }\n'  # noqa: E501


def conv(name: str, bottom: str, outputs: int = 4, more: str = "pad: 1") -> str:
    """A 3x3 convolution."""
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"\n'
        f"  convolution_param {{ num_output: {outputs} kernel_size: 3 {more} }} }}\n"
    )


def norm(blob: str, name: str, more: str = "") -> str:
    """A BatchNorm and a Scale, in place."""
    return (
        f'layer {{ name: "bn_{name}" type: "BatchNorm" bottom: "{blob}" top: "{blob}" {more} }}\n'
        f'layer {{ name: "scale_{name}" type: "Scale" bottom: "{blob}" top: "{blob}"\n'
        "  scale_param { bias_term: true } }\n"
    )


def relu(blob: str) -> str:
    """A ReLU, in place."""
    return f'layer {{ name: "relu_{blob}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}\n'


def inner(name: str, bottom: str, outputs: int = 5) -> str:
    """An InnerProduct."""
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"\n'
        f"  inner_product_param {{ num_output: {outputs} }} }}\n"
    )


def softmax(bottom: str) -> str:
    """The end of a deploy net."""
    return f'layer {{ name: "prob" type: "Softmax" bottom: "{bottom}" top: "prob" }}\n'


PLAIN = (
    'name: "plain"\n'
    + INPUT
    + "# The first layer, as its author says.\n"
    + conv("conv1", "data")
    + relu("conv1")
    + conv("conv2", "conv1")
    + relu("conv2")
    + inner("fc3", "conv2", 6)
    + relu("fc3")
    + inner("fc4", "fc3")
    + softmax("fc4")
)

RESIDUAL = (
    'name: "residual"\n'
    + INPUT
    + conv("conv1", "data")
    + norm("conv1", "conv1")
    + relu("conv1")
    + conv("a1", "conv1")
    + norm("a1", "a1", "batch_norm_param { use_global_stats: true eps: 0.001 }")
    + relu("a1")
    + conv("a2", "a1")
    + norm("a2", "a2")
    + 'layer { name: "sum" type: "Eltwise" bottom: "conv1" bottom: "a2" top: "sum" }\n'
    + relu("sum")
    + conv("conv3", "sum")
    + 'layer { name: "slopes" type: "PReLU" bottom: "conv3" top: "conv3" }\n'
    + inner("fc", "conv3")
    + softmax("fc")
)

CONVOLUTIONAL = (
    'name: "convolutional"\n'
    + INPUT
    + conv("fire/squeeze", "data")
    + relu("fire/squeeze")
    + conv("fire/left", "fire/squeeze")
    + conv("fire/right", "fire/squeeze")
    + 'layer { name: "fire/concat" type: "Concat" bottom: "fire/left" bottom: "fire/right" top: "fire/concat" }\n'  # noqa: E501
    + conv("last", "fire/concat", 5)
    + 'layer { name: "last/relu" type: "ReLU" bottom: "last" top: "rectified" }\n'
    + 'layer { name: "pool" type: "Pooling" bottom: "rectified" top: "pool"\n'
    + "  pooling_param { pool: AVE global_pooling: true } }\n"
    + softmax("pool")
)


def loss(name: str, bottom: str, weight: float) -> str:
    """A softmax loss."""
    return (
        f'layer {{ name: "{name}" type: "SoftmaxWithLoss" bottom: "{bottom}" bottom: "label"\n'
        f'  top: "{name}" loss_weight: {weight} }}\n'
    )


AUXILIARY = (
    'name: "auxiliary"\n'
    'layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }\n'
    '  transform_param { crop_size: 16 } data_param { source: "x" batch_size: 2 backend: LMDB } }\n'
    'layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }\n'
    '  transform_param { crop_size: 16 } data_param { source: "y" batch_size: 2 backend: LMDB } }\n'
    + conv("conv1", "data")
    + relu("conv1")
    + conv("side", "conv1")
    + inner("side/classifier", "side")
    + loss("side/loss", "side/classifier", 0.3)
    + conv("conv2", "conv1")
    + inner("main/classifier", "conv2")
    + loss("main/loss", "main/classifier", 1)
    + 'layer { name: "accuracy" type: "Accuracy" bottom: "main/classifier" bottom: "label"\n'
    '  top: "accuracy" include { phase: TEST } }\n'
)

V1 = """name: "v1"
input: "data"
input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 16
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2
  weight_decay: 1 weight_decay: 0 convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "fc" type: INNER_PRODUCT bottom: "conv1" top: "fc"
  inner_product_param { num_output: 5 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""

KINDS = {
    "plain": PLAIN,
    "residual": RESIDUAL,
    "convolutional": CONVOLUTIONAL,
    "auxiliary": AUXILIARY,
    "v1": V1,
}

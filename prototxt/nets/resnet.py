"""ResNet-50 (He et al. 2016), as its authors gave it out for Caffe, and open_nsfw's of half width.

Both have four stages of bottleneck blocks: a 1x1 convolution reduces, a 3x3 computes, a 1x1
expands, and what came in is added. The first block of a stage halves the size in its first 1x1
convolution, so what came in goes through a 1x1 of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from prototxt.nets.layers import convolution, header, layer, learnt, pooling, relu, softmax

_BLOCKS = (3, 4, 6, 3)  # of each stage

_STATISTICS = "param { lr_mult: 0 decay_mult: 0 }"
_SCALED = "param { lr_mult: 1 decay_mult: 0 }"


@dataclass(frozen=True)
class _Names:
    """What the authors of the published weights called their layers."""

    stem: str
    classifier: str
    last_pool: str
    half: bool  # open_nsfw's; else He's

    def block(self, stage: int, number: int) -> str:
        """A residual block, counted from 0."""
        if self.half:
            return f"stage{stage}_block{number}"
        return f"res{stage + 2}{'abcdef'[number]}"

    def convolution(self, block: str, part: str) -> str:
        """A convolution of a block: of the shortcut ("1"), or "2a", "2b", "2c"."""
        if not self.half:
            return f"{block}_branch{part}"
        return f"conv_{block}_" + ("proj_shortcut" if part == "1" else f"branch{part}")

    def normalised(self, convolution: str) -> tuple[str, str]:
        """The BatchNorm and the Scale of a convolution."""
        if convolution == "conv1":
            return "bn_conv1", "scale_conv1"
        tail = convolution.removeprefix("conv" if self.half else "res")
        return f"bn{tail}", f"scale{tail}"

    def relu(self, what: str) -> str:
        """The ReLU of a convolution or of a block."""
        return f"relu_{what.removeprefix('conv_')}" if self.half else f"{what}_relu"

    def sum(self, block: str) -> str:
        """Where a block's two ways meet."""
        return f"eltwise_{block}" if self.half else block


def resnet50() -> str:
    """He's ResNet-50: 25,557,096 numbers that learn, and 53 BatchNorms."""
    names = _Names("conv1", "fc1000", "pool5", half=False)
    comment = (
        "# ResNet-50 (He et al. 2016), with the names of its authors' weights for Caffe. A stage\n"
        "# halves the size in the first 1x1 convolution of its first block.\n"
    )
    return header(comment, "ResNet-50", 224) + _net(names, width=64, outputs=1000)


def resnet50_half() -> str:
    """Yahoo's open_nsfw: a ResNet-50 of half the maps, with biases in every convolution."""
    names = _Names("conv_1", "fc_nsfw", "pool", half=True)
    comment = (
        "# ResNet-50 of half width: the net of Yahoo's open_nsfw (Mahadeokar and Pesavento 2016),\n"
        "# with the names of its weights.\n"
    )
    return header(comment, "ResNet_50_1by2_nsfw", 224) + _net(names, width=32, outputs=2)


def _net(names: _Names, width: int, outputs: int) -> str:
    """The layers above the data; `width`: maps in the first stage's 3x3 convolutions."""

    def unit(name: str, bottom: str, maps: int, kernel: int, stride: int = 1) -> str:
        bn, scale = names.normalised(name)
        biases = names.half or name == names.stem
        filler = 'type: "xavier"' if names.half else 'type: "msra"'
        pad = kernel // 2
        return (
            convolution(name, bottom, maps, kernel, stride, pad, filler=filler, bias=biases)
            + layer(bn, "BatchNorm", name, name, *[_STATISTICS] * 3, _FIXED)
            + layer(scale, "Scale", name, name, *[_SCALED] * 2, "scale_param { bias_term: true }")
        )

    stem = names.stem
    text = "\n" + unit(stem, "data", 64, 7, 2)
    text += relu("relu_1" if names.half else "conv1_relu", stem)
    text += pooling("pool1", stem, "MAX", "kernel_size: 3", "stride: 2")
    below = "pool1"
    for stage, blocks in enumerate(_BLOCKS):
        maps = width * 2**stage
        for number in range(blocks):
            block = names.block(stage, number)
            stride = 2 if number == 0 and stage > 0 else 1
            one, a, b, c = (names.convolution(block, part) for part in ("1", "2a", "2b", "2c"))
            text += f"\n# ---- {block} ----\n\n"
            if number == 0:
                text += unit(one, below, 4 * maps, 1, stride)
            text += unit(a, below, maps, 1, stride) + relu(names.relu(a), a)
            text += unit(b, a, maps, 3) + relu(names.relu(b), b)
            text += unit(c, b, 4 * maps, 1)
            total = names.sum(block)
            text += layer(total, "Eltwise", [one if number == 0 else below, c], total)
            text += relu(names.relu(block), total)
            below = total
    text += "\n# ---- The classifier ----\n\n"
    text += pooling(names.last_pool, below, "AVE", "kernel_size: 7", "stride: 1")
    text += learnt(
        names.classifier,
        "InnerProduct",
        names.last_pool,
        f"num_output: {outputs}",
        filler='type: "gaussian" std: 0.01',
    )
    return text + softmax(names.classifier)


# Statistics as the weights bring them, as these nets are meant to be fine-tuned.
_FIXED = "batch_norm_param { use_global_stats: true }"

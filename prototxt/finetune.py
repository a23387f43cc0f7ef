"""From a net as somebody published it to the nets that fine-tune it for a task.

The text stays its author's, comments and all. What changes: the data that come in, the classifier,
the multipliers of learning rate and decay, fixed or moving BatchNorm, and the end of the net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.errors import UserError
from prototxt.blocks import find_blocks, frozen_layers
from prototxt.caffenet import IMAGE_SIZE
from prototxt.description import Description, Layer
from prototxt.heads import DATA, ENDS, Head, ancestors, find_heads
from prototxt.syntax import Field, Message, parse, quoted

# The field with a layer's fillers, by its type.
_FILLED = {
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "InnerProduct": "inner_product_param",
}
_FILLERS = ("weight_filler", "bias_filler")
_NEW_FILLER = 'weight_filler { type: "gaussian" std: 0.01 }\n'
_SCRATCH_FILLER = (
    'weight_filler { type: "msra" }   '
    "# its author gives none: Caffe would start it at zero, from where nothing learns\n"
)
_NEW_NAME = (
    "The classifier of this task. Its name is new, so that copying weights by name skips it."
)
_NEW_AMONG_NEW = "All layers are new here, so this one learns at the rate of the others."
_NEW_AMONG_TRAINED = (
    "It starts from nothing while the others are trained already, so it learns faster."
)
_IN_TRAINING = "# in training only"
_IN_USE = "# does nothing here: kept so that both nets have the same layers"
_LAST_OF = ("name", "type", "bottom", "top", "include", "exclude", "propagate_down", "loss_weight")


@dataclass(frozen=True)
class Change:
    """What is to become of a net."""

    task: str
    classes: int
    scenario: str = "all"
    freeze: str = ""  # up to and with this layer, instead of a scenario
    scratch: bool = False  # nothing is copied
    batch_statistics: bool = False  # BatchNorms that learn follow their own batches
    new_layer_lr: float = 10.0
    dropout: float | None = None  # None: as the net has it
    crop: int | None = None  # None: the net's own input


@dataclass(frozen=True)
class FineTuned:
    """A net changed for a task: the bodies of its two prototxts, from the data to the logits."""

    title: str
    crop: int
    frozen: tuple[str, ...]  # layers
    frozen_blocks: tuple[str, ...]  # the same, as they freeze together
    classifiers: tuple[str, ...]  # the new ones, the main one first
    data: str  # the blob of the images
    logits: str  # the blob of the main classifier's outputs
    features: str  # the blob that the main classifier reads
    train_body: str
    deploy_body: str
    normalised: bool  # whether it has BatchNorms
    moving: bool  # whether a BatchNorm follows its own batches


def fine_tune(net: Description, change: Change) -> FineTuned:
    """Change a net for a task.

    Raises UserError for a net that can't be: no classifier or several, an input that is no square
    colour image or larger than the images, a task's name that the net has already.
    """
    heads = find_heads(net)
    data, crop = _input(net, change.crop)
    frozen = frozen_layers(net, heads, change.scenario, change.freeze)
    _check_names(net, heads, change.task)
    body = _Body(net, heads, change, frozen, data)
    main = net.layers[heads[0].classifier]
    return FineTuned(
        title=net.name or net.path.parent.name,
        crop=crop,
        frozen=frozen,
        frozen_blocks=tuple(
            block.title for block in find_blocks(net, heads[0]) if set(block.layers) <= set(frozen)
        ),
        classifiers=tuple(f"{net.layers[h.classifier].name}_{change.task}" for h in heads),
        data=data,
        logits=body.renamed(heads[0], heads[0].logits),
        features=main.bottoms[0],
        train_body=body.train(),
        deploy_body=body.deploy(),
        normalised=any(layer.type == "BatchNorm" for layer in net.layers),
        moving=any(layer.type == "BatchNorm" and layer.name not in frozen for layer in net.layers)
        and change.batch_statistics,
    )


def _input(net: Description, asked: int | None) -> tuple[str, int]:
    """The blob of the images, and the length of its sides."""
    sources = [layer for layer in net.layers if layer.type in DATA and layer.tops]
    blobs = {layer.tops[0] for layer in sources}
    if len(blobs) != 1:
        names = ", ".join(sorted(blobs)) or "none"
        raise UserError(f"{net.path}: its inputs are {names}; one input of images is expected")
    (data,) = blobs
    shape = net.shapes[data]
    if len(shape) != 4 or shape[1] != 3:
        size = " x ".join(map(str, shape[1:]))
        raise UserError(
            f"{net.path}: its input '{data}' is {size}; colour images are 3 x height x width"
        )
    crop = asked or shape[2]
    if not asked and shape[2] != shape[3]:
        raise UserError(
            f"{net.path}: its input is {shape[2]} x {shape[3]}; Caffe's Data layer crops squares "
            "only: say one with 'crop:' in the card"
        )
    if crop > IMAGE_SIZE:
        raise UserError(
            f"{net.path}: its input of {crop} x {crop} is larger than the images of "
            f"{IMAGE_SIZE} x {IMAGE_SIZE} in the LMDBs"
        )
    return data, crop


def _check_names(net: Description, heads: Sequence[Head], task: str) -> None:
    names = {layer.name for layer in net.layers}
    for head in heads:
        new = f"{net.layers[head.classifier].name}_{task}"
        if new in names:
            raise UserError(
                f"task {task}: its classifier would be '{new}', as a layer of {net.path} is named; "
                "give the task another name"
            )


class _Body:
    """The layers between the data and the end of a net."""

    def __init__(
        self,
        net: Description,
        heads: Sequence[Head],
        change: Change,
        frozen: Sequence[str],
        data: str,
    ) -> None:
        self.net = net
        self.heads = heads
        self.change = change
        self.frozen = frozen
        self.data = data
        self.main = ancestors(net.layers, _last(heads[0]))
        self.needed = set().union(*(ancestors(net.layers, _last(head)) for head in heads))
        self.classifiers = {head.classifier: head for head in heads}
        self.dropped = {place for head in heads for place in head.dropped}

    def train(self) -> str:
        """The body of train_val.prototxt, with the losses of auxiliary heads."""
        document = parse(self.net.text)
        body = []
        for place, each in self._layers(document, self.needed):
            message = each.value
            assert isinstance(message, Message)  # every layer is one
            if place not in self.main:  # a head that only helps to learn
                message.remove("include", "exclude")
                message.put("include { phase: TRAIN }\n", after=("name", "type", "bottom", "top"))
            self._multipliers(message, place)
            self._fillers(message, place)
            self._statistics(message, place)
            body.append(str(each))
        for head in self.heads[1:]:
            body.append(
                "layer {\n"
                f"  name: {quoted(head.loss)}\n"
                '  type: "SoftmaxWithLoss"\n'
                f"  bottom: {quoted(self.renamed(head, head.logits))}\n"
                '  bottom: "label"\n'
                f"  top: {quoted(head.loss)}\n"
                f"  loss_weight: {head.weight:g}   # helps to train the layers below it\n"
                "  include { phase: TRAIN }\n"
                "}\n"
            )
        return "".join(body).lstrip("\n")

    def deploy(self) -> str:
        """The body of deploy.prototxt: what leads to the main classifier, without fillers."""
        document = parse(self.net.text)
        body = []
        for place, each in self._layers(document, self.main):
            message = each.value
            assert isinstance(message, Message)  # every layer is one
            message.remove("param", "include", "exclude")
            own = message.message(_FILLED.get(self.net.layers[place].type, ""))
            if own:
                own.remove(*_FILLERS)
            self._statistics(message, place)
            for dropout in message.all("dropout_param"):
                dropout.trail = dropout.trail.replace(_IN_TRAINING, _IN_USE)
            body.append(str(each))
        return "".join(body).lstrip("\n")

    def renamed(self, head: Head, blob: str) -> str:
        """What a blob of a head is called once its classifier bears the task's name."""
        layer = self.net.layers[head.classifier]
        return f"{blob}_{self.change.task}" if blob in layer.tops else self._before_drop(blob)

    def _before_drop(self, blob: str) -> str:
        """What a blob comes from, where the ReLU that wrote it is dropped."""
        for place in self.dropped:
            layer = self.net.layers[place]
            if blob in layer.tops and blob not in layer.bottoms:
                return self._new_name(self._before_drop(layer.bottoms[0]))
        return blob

    def _new_name(self, blob: str) -> str:
        for place in self.classifiers:
            if blob in self.net.layers[place].tops:
                return f"{blob}_{self.change.task}"
        return blob

    def _layers(self, document: Message, wanted: set[int]) -> list[tuple[int, Field]]:
        """The wanted layers, with the classifiers and what reads them under their new names."""
        layers = list(document.all("layer"))
        kept = []
        for place, each in enumerate(layers):
            layer, message = self.net.layers[place], each.value
            assert isinstance(message, Message)  # every layer is one
            ends = layer.type in ENDS or layer.type in DATA or place in self.dropped
            if place not in wanted or ends:
                continue
            if place in self.classifiers:
                self._classifier(message, layer)
            head = next((h for h in self.heads if place in h.between), None)
            for blob in [*message.all("bottom"), *message.all("top")]:
                assert isinstance(blob.value, str)  # a name
                name = blob.value.strip("\"'")
                if place in self.classifiers and blob.name == "bottom":
                    continue
                new = self._new_name(name) if place in self.classifiers or head else name
                if head and blob.name == "bottom":
                    new = self._new_name(self._before_drop(name))
                blob.value = quoted(new)
            if self.change.dropout is not None and layer.type == "Dropout":
                _set_dropout(message, self.change.dropout)
            if not each.trail.endswith("\n"):
                each.trail += "\n"
            kept.append((place, each))
        return kept

    def _classifier(self, message: Message, layer: Layer) -> None:
        next(message.all("name")).value = quoted(f"{layer.name}_{self.change.task}")
        own = message.message(_FILLED[layer.type])
        assert own is not None  # Caffe built the layer
        output = next(own.all("num_output"))
        output.value = str(self.change.classes)
        if "\n" in own.opening:
            output.trail = "   # classes of the task, in the order of its classes.txt\n"

    def _multipliers(self, message: Message, place: int) -> None:
        """A `param` for each blob of a learnable layer."""
        layer = self.net.layers[place]
        if not layer.blobs:
            return
        message.remove("param")
        lines = []
        for number in range(len(layer.blobs)):
            lr, decay = self._rates(layer, place, number)
            written = layer.params[number].name if number < len(layer.params) else ""
            shared = f"name: {quoted(written)} " if written else ""
            lines.append(f"param {{ {shared}lr_mult: {lr:g} decay_mult: {decay:g} }}\n")
        if place in self.classifiers:
            scratch = self.change.scratch
            lines.insert(0, f"  # {_NEW_AMONG_NEW if scratch else _NEW_AMONG_TRAINED}\n  ")
        message.put("".join(lines), after=_LAST_OF)
        if place in self.classifiers and message.fields[0].lead.endswith("\n  "):
            message.fields[0].lead += "# " + _NEW_NAME + "\n  "
        elif place in self.classifiers and "\n" in message.opening:
            message.fields[0].lead = "  # " + _NEW_NAME + "\n" + message.fields[0].lead

    def _rates(self, layer: Layer, place: int, number: int) -> tuple[float, float]:
        """lr_mult and decay_mult of one blob."""
        if layer.type == "BatchNorm" or layer.name in self.frozen:
            return 0, 0
        if place in self.classifiers:
            lr = 1 if self.change.scratch else self.change.new_layer_lr
            return (lr, 1) if number == 0 else (2 * lr, 0)
        if number < len(layer.params) and layer.params[number].lr:
            return layer.params[number].lr, layer.params[number].decay
        if layer.type in _FILLED:
            return (1, 1) if number == 0 else (2, 0)
        return 1, 0  # scales, shifts and slopes are not decayed, the custom

    def _fillers(self, message: Message, place: int) -> None:
        """Give a layer that starts fresh a filler, where its author gave none."""
        layer = self.net.layers[place]
        own = message.message(_FILLED.get(layer.type, ""))
        if own is None:
            return
        if place in self.classifiers:
            own.remove(*_FILLERS)
            own.put(_NEW_FILLER + 'bias_filler { type: "constant" value: 0 }\n')
        elif self.change.scratch and own.message("weight_filler") is None:
            own.put(_SCRATCH_FILLER)

    def _statistics(self, message: Message, place: int) -> None:
        """Fixed statistics for a BatchNorm, unless it learns and is to follow its batches."""
        layer = self.net.layers[place]
        if layer.type != "BatchNorm":
            return
        moves = self.change.batch_statistics and layer.name not in self.frozen
        own = message.message("batch_norm_param")
        if own is None:
            if not moves:
                message.put("batch_norm_param { use_global_stats: true }\n")
            return
        own.remove("use_global_stats")
        if not moves:
            own.put("use_global_stats: true\n")
        elif not own.fields:
            message.remove("batch_norm_param")


def _set_dropout(message: Message, ratio: float) -> None:
    own = message.message("dropout_param")
    found = next(own.all("dropout_ratio"), None) if own else None
    if found:
        found.value = repr(ratio)
    else:
        message.remove("dropout_param")
        message.put(f"dropout_param {{ dropout_ratio: {ratio!r} }}\n")


def _last(head: Head) -> int:
    """The last layer of a head that is kept."""
    return max((head.classifier, *head.between))

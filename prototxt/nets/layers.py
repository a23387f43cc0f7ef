"""The text of single layers, for the nets that a generator writes."""

from __future__ import annotations


def header(comment: str, name: str, size: int) -> str:
    """The comment, the name, and an input of `size` x `size` colour images."""
    return f"""{comment}name: "{name}"

layer {{
  name: "data"
  type: "Input"
  top: "data"
  input_param {{ shape {{ dim: 10 dim: 3 dim: {size} dim: {size} }} }}
}}
"""


def layer(name: str, kind: str, bottoms: str | list[str], top: str, *lines: str) -> str:
    """One layer; `lines` are its own fields."""
    below = [bottoms] if isinstance(bottoms, str) else bottoms
    fields = [f'name: "{name}"', f'type: "{kind}"', *(f'bottom: "{blob}"' for blob in below)]
    fields += [f'top: "{top}"', *lines]
    return "layer {\n" + "".join(f"  {line}\n" for line in fields) + "}\n"


def learnt(name: str, kind: str, bottom: str, *own: str, filler: str, bias: bool = True) -> str:
    """A Convolution or InnerProduct: biases learn twice as fast and are not decayed."""
    params = ["param { lr_mult: 1 decay_mult: 1 }"]
    fields = [*own, f"weight_filler {{ {filler} }}"]
    if bias:
        params.append("param { lr_mult: 2 decay_mult: 0 }")
        fields.append('bias_filler { type: "constant" value: 0 }')
    else:
        fields.append("bias_term: false")
    field = {"Convolution": "convolution_param", "InnerProduct": "inner_product_param"}[kind]
    block = [f"{field} {{", *(f"  {line}" for line in fields), "}"]
    return layer(name, kind, bottom, name, *params, *block)


def convolution(
    name: str,
    bottom: str,
    outputs: int,
    kernel: int,
    stride: int = 1,
    pad: int = 0,
    *,
    filler: str,
    bias: bool = True,
) -> str:
    """A Convolution whose top bears its name."""
    own = [f"num_output: {outputs}", f"kernel_size: {kernel}"]
    own += [f"stride: {stride}"] if stride > 1 else []
    own += [f"pad: {pad}"] if pad else []
    return learnt(name, "Convolution", bottom, *own, filler=filler, bias=bias)


def relu(name: str, blob: str) -> str:
    """A ReLU in place."""
    return layer(name, "ReLU", blob, blob)


def pooling(name: str, bottom: str, how: str, *own: str) -> str:
    """A Pooling whose top bears its name."""
    return layer(name, "Pooling", bottom, name, f"pooling_param {{ pool: {how} {' '.join(own)} }}")


def softmax(bottom: str) -> str:
    """The probabilities."""
    return layer("prob", "Softmax", bottom, "prob")

"""One engine that lives on: the features of pixels, and what explains a net's answer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from experiments.similarity.collection import Pixels
from experiments.similarity.feature_models import BATCH, Model
from experiments.similarity.feature_set import Vectors
from lib.caffe.device import Device
from lib.caffe.service import Service


class Extractor:
    """One engine that lives on, and a scratch file to hand it pixels. Use it in a `with`."""

    def __init__(self, device: Device) -> None:
        self.service = Service(device.engine)
        self.gpu = device.gpu
        self._scratch = tempfile.TemporaryDirectory(prefix="features.")

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        self.service.close()
        self._scratch.cleanup()

    def dims(self, model: Model, blob: str, batch: int | None = BATCH) -> int:
        """The numbers a vector of `blob` has. Loads the net; UserError where that can't be."""
        return int(self._ask(model, blob, batch, None, None)["dims"])

    def vectors(
        self,
        model: Model,
        blob: str,
        pixels: Pixels,
        *,
        batch: int | None = BATCH,
        timeout: float | None = None,
    ) -> Vectors:
        """The values of `blob` for uint8 pixels (n, 3, 256, 256): float32 (n, dims)."""
        out = Path(self._scratch.name) / "values"
        answer = self._ask(model, blob, batch, pixels, out, timeout)
        return np.fromfile(out, "<f4").reshape(len(pixels), answer["dims"])

    def explain(
        self,
        model: Model,
        pixels: Pixels,
        *,
        label: int | None = None,
        layer: str | None = None,
        blob: str | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """What verb_explain says of one image (1, 3, 256, 256), its arrays included."""
        out = Path(self._scratch.name) / "explained.npz"
        images = self._write(pixels)
        answer = self.service.call(
            "explain",
            {
                **model.request(),
                "images": str(images),
                "size": list(pixels.shape[2:]),
                "layer": layer,
                "label": label,
                "blob": blob or model.blob,
                "out": str(out),
                "gpu": self.gpu,
            },
            timeout=timeout,
        )
        with np.load(out) as found:
            return {**answer, **{name: np.array(found[name]) for name in found}}

    def _ask(
        self,
        model: Model,
        blob: str,
        batch: int | None,
        pixels: Pixels | None,
        out: Path | None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        images = None if pixels is None else self._write(pixels)
        return self.service.call(
            "extract",
            {
                **model.request(),
                "blob": blob,
                "batch": batch,
                "images": str(images),
                "count": 0 if pixels is None else len(pixels),
                "size": [] if pixels is None else list(pixels.shape[2:]),
                "out": None if out is None else str(out),
                "gpu": self.gpu,
            },
            timeout=timeout,
        )

    def _write(self, pixels: Pixels) -> Path:
        path = Path(self._scratch.name) / "pixels"
        np.ascontiguousarray(pixels, np.uint8).tofile(path)
        return path

"""Maps of what a net looked at, laid over the image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # height x width x 3, RGB
Map = NDArray[np.floating]  # height x width, 0 to 1

_STRONG = 0.6  # opacity of the map where it is 1


def centre(pixels: NDArray[np.uint8], crop: tuple[int, int]) -> Picture:
    """The part of an image's pixels (3, height, width; BGR) that the net sees, as RGB."""
    height, width = pixels.shape[1:]
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    part = pixels[::-1, top : top + crop[0], left : left + crop[1]]
    return np.ascontiguousarray(part.transpose(1, 2, 0))


def overlay(picture: Picture, values: Map) -> Picture:
    """The picture in grey below a map in colours (viridis: told apart by everyone)."""
    height, width = picture.shape[:2]
    fine = cv2.resize(
        np.asarray(values, np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    fine = np.clip(fine, 0, 1)
    colours = cv2.applyColorMap((fine * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    opacity = 0.15 + (_STRONG - 0.15) * fine[..., None]
    mixed: Picture = np.rint(grey * (1 - opacity) + colours * opacity).astype(np.uint8)
    return mixed


def spread(values: Map) -> Map:
    """A saliency map made visible: single pixels joined, the strongest hundredth cut off."""
    smooth = cv2.GaussianBlur(np.asarray(values, np.float32), (0, 0), 2)
    top = float(np.quantile(smooth, 0.99)) or 1.0
    return np.clip(smooth / top, 0, 1)

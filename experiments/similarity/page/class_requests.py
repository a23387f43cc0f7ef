"""Requests about classes: test images by true and predicted class, and why a run says it."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from experiments.similarity.artworks import Artwork, caption
from experiments.similarity.attribution import (
    Explanation,
    TrainingImages,
    data_of,
    explain,
    training_images,
)
from experiments.similarity.collection import task_collection
from experiments.similarity.feature_models import Model
from experiments.similarity.heatmaps import Picture
from experiments.similarity.neighbours import distance_text
from experiments.similarity.page.engine import TIMEOUT
from experiments.similarity.page.gallery import Gallery, shown_name
from experiments.similarity.page.image_requests import Name, Text
from experiments.similarity.page.page_parts import Card, one_query, page_of
from lib.errors import UserError

router = APIRouter()
_NEAREST = 6  # training images that are shown


@router.get("/api/confusion")
def confusion(request: Request, model: Text) -> dict[str, Any]:
    page = page_of(request)
    classes, counts = page.gallery.confusion(page.model(model))
    return {"model": model, "classes": classes, "counts": counts}


@router.get("/api/cell")
def cell(request: Request, model: Text, true: Text, predicted: Text) -> dict[str, Any]:
    page = page_of(request)
    found = page.gallery.cell(page.model(model), true, predicted)
    return {"total": found.total, "images": found.images}


@router.post("/api/explain")
async def why(
    request: Request, model: Text, image: Name = "", upload: Text = "", label: Text = ""
) -> dict[str, Any]:
    """What a run says of an image, and why."""
    page = page_of(request)
    gallery, asked = page.gallery, page.gallery.models[page.model(model)]
    one_query(image, upload)
    async with page.engine.place():
        own = None
        if image:
            row = page.row(image)
            own = gallery.items[row].image
            pixels = await run_in_threadpool(gallery.pixels, row)
        else:
            pixels = (await page.arrays(upload))["pixels"].astype(np.uint8)
        said = await page.engine.run(
            lambda it: explain(it, asked, pixels, label=label or None, timeout=TIMEOUT)
        )
    training, note = None, ""
    try:
        training = await run_in_threadpool(_training, asked, said, gallery.known, own)
    except UserError as error:
        note = str(error)
    return {
        "classes": [
            {"name": name, "probability": probability} for name, probability in said.classes
        ],
        "explained": said.explained,
        "layer": said.layer,
        "seen": _inline(said.seen),
        "activation": _inline(said.activation),
        "saliency": _inline(said.saliency),
        "nearest": _cards(gallery, training) if training else [],
        "note": note,
        "part": training.part if training else "",
        "truth": training.truth if training else "",
    }


def _training(
    model: Model, said: Explanation, known: dict[str, Artwork], image: str | None
) -> TrainingImages:
    own = task_collection(data_of(model))
    return training_images(own, model, said.vector, _NEAREST, known, image)


def _cards(gallery: Gallery, training: TrainingImages) -> list[Card]:
    cards = []
    for each in training.nearest:
        row = gallery.row_of.get(each.image)
        card = {"row": None, "name": shown_name(each.image)} if row is None else gallery.card(row)
        words = {"class": each.label, "part": each.part, "caption": caption("", each.known)}
        cards.append({**card, **words, "distance": float(distance_text(each.distance))})
    return cards


def _inline(picture: Picture) -> str:
    """A small RGB picture as a data address: it is made for one answer and kept nowhere."""
    data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")

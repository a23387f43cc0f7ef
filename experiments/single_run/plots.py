"""The picture of a run's curve: losses and validation accuracy."""

from __future__ import annotations

from pathlib import Path

from experiments.single_run.curve import Point
from experiments.single_run.figure_style import WIDTH, look, save_figure, wrapped_title

_TRAIN, _VAL = "#0072b2", "#d55e00"  # told apart by colour-blind readers too (Okabe and Ito)


def draw_curve(points: list[Point], path: Path, title: str) -> None:
    """Draw training loss, validation loss and validation accuracy over the epochs, as PNG and PDF.

    The PDF lies beside `path`, the PNG.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    trained = [point for point in points if point.train_loss is not None]
    validated = [point for point in points if point.val_accuracy is not None]
    with mpl.rc_context(look([title])):
        figure = Figure(figsize=(WIDTH, 6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        above.plot([p.epoch for p in trained], [p.train_loss for p in trained], color=_TRAIN)
        above.plot([p.epoch for p in validated], [p.val_loss for p in validated], color=_VAL)
        above.legend(["training", "validation"])
        above.set_ylabel("loss")
        above.set_title(wrapped_title(title, WIDTH))
        below.plot([p.epoch for p in validated], [p.val_accuracy for p in validated], color=_VAL)
        below.set_ylabel("validation accuracy")
        below.set_xlabel("epoch")
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.3)
        save_figure(figure, path.with_suffix(".pdf"))
        save_figure(figure, path)

"""Figures 5, 6 and 7: validation accuracy over the epochs, by init and by scenario."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from experiments.paper.figures.choice import Choice, edited, inits_of, pick
from experiments.paper.figures.plot import COLOURS, LINES, MARKERS, Plot, bare
from experiments.paper.printed import INITS
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.single_run import run_json as states
from experiments.single_run.curve import read
from experiments.single_run.figure_style import TITLE_SIZE, is_column, wrapped_title
from experiments.single_run.plan import RunPlan
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS

_TASKS = {"5": "wikiart_artist", "6": "wga_artist", "7": "wikiart_style"}


@dataclass(frozen=True)
class _Line:
    """One curve of a panel."""

    panel: str
    label: str
    wanted: RunPlan


def plot(number: str, choice: Choice, records: Records) -> Plot:
    """Figure 5 or 6 (a panel for `all`, one for `only_last`, a curve an init), or 7."""
    task = choice.task or _TASKS[number]
    settings = choice.settings
    if number == "7":
        lines = [
            _Line(f"from {choice.init}", scenario, RunPlan(task, choice.init, scenario, settings))
            for scenario in SCENARIOS
        ]
        title = f"{choice.heading(number)}: validation accuracy of the scenarios, {task}"
    else:
        inits = inits_of(records, task, settings, INITS) if choice.task else INITS
        lines = [
            _Line(words, init, RunPlan(task, init, scenario, settings))
            for scenario, words in (("all", "all layers learn"), ("only_last", "only the last"))
            for init in inits
        ]
        title = f"{choice.heading(number)}: validation accuracy by initialisation, {task}"
    found = [(line, pick(records, line.wanted)) for line in lines]
    rows, remarks = [], []
    for line, run in found:
        if run is None:
            continue
        try:
            points = [p for p in read(run.folder.curve) if p.val_accuracy is not None]
        except UserError as error:
            remarks.append(str(error))
            continue
        rows += [
            (line.panel, line.label, run.name, run.state, p.iteration, p.epoch, p.val_accuracy)
            for p in points
        ]
        remarks += _remarks(run)
    table = pd.DataFrame(
        rows,
        columns=["panel", "curve", "run", "state", "iteration", "epoch", "val_accuracy"],
    )
    order = {line.label: place for place, line in enumerate(_unique(lines))}
    panels = list(dict.fromkeys(line.panel for line in lines))
    return Plot(
        name=choice.name(number),
        title=title,
        caption=f"Accuracy over all validation images. {choice.settings_in_words}",
        table=table,
        draw=(lambda width: _draw(table, panels, order, title, width)) if rows else None,
        missing=tuple(line.wanted.make_line for line, run in found if run is None),
        remarks=tuple(remarks),
    )


def _draw(
    table: pd.DataFrame, panels: list[str], order: dict[str, int], title: str, width: float
) -> Figure:
    shape = (len(panels), 1) if is_column(width) else (1, len(panels))
    figure = Figure(figsize=(width, 3.0 * shape[0] + 0.4), layout="constrained")
    figure.suptitle(wrapped_title(title, width), fontsize=TITLE_SIZE)
    for axes, panel in zip(
        figure.subplots(*shape, sharex=True, sharey=True, squeeze=False).flat, panels, strict=True
    ):
        axes.set_title(panel)
        axes.set_xlabel("epoch")
        bare(axes)
        of_panel = table[table["panel"] == panel]
        for label, place in order.items():
            curve = of_panel[of_panel["curve"] == label]
            if curve.empty:
                continue
            on_its_way = curve["state"].iloc[0] != states.TRAINED
            axes.plot(
                curve["epoch"],
                curve["val_accuracy"],
                color=COLOURS[place % len(COLOURS)],
                linestyle=LINES[place % len(LINES)],
                marker=MARKERS[place % len(MARKERS)],
                markevery=max(1, len(curve) // 8),
                markersize=3.5,
                linewidth=1.2,
                label=f"{label} (to epoch {curve['epoch'].iloc[-1]:.0f})" if on_its_way else label,
            )
        if of_panel.empty:
            axes.text(0.5, 0.5, "no run yet", ha="center", transform=axes.transAxes)
        else:
            axes.legend(loc="best")
    figure.supylabel("validation accuracy", fontsize=8)
    return figure


def _unique(lines: list[_Line]) -> list[_Line]:
    return list({line.label: line for line in lines}.values())


def _remarks(run: RecordedRun) -> list[str]:
    seed = run.plan.settings.seed
    of_seed = [f"{run.name}: seed {seed}"] if seed != Choice().settings.seed else []
    return of_seed + edited([run])

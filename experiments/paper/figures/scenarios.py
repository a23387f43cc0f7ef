"""Figures 8 and 9: test accuracy and training time of the scenarios."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from experiments.paper import printed
from experiments.paper.figures.choice import Choice, edited, pick
from experiments.paper.figures.plot import COLOURS, PRINTED_COLOUR, Plot, bare
from experiments.paper.seed_groups import find, group_by_seed
from experiments.paper.valid_runs import RecordedRun, Records
from experiments.single_run import run_json as states
from experiments.single_run.figure_style import SMALLEST, is_column, wrapped_title
from experiments.single_run.plan import RunPlan
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER

_TASK = "wikiart_style"


def accuracy(number: str, choice: Choice, records: Records) -> Plot:
    """Figure 8: bars of test accuracy, printed and ours."""
    task, every = choice.task or _TASK, group_by_seed(records.tested)
    rows, missing, remarks = [], [], []
    for scenario in SCENARIOS:
        cell = find(every, task, choice.init, scenario, choice.settings)
        if cell is None:
            missing.append(RunPlan(task, choice.init, scenario, choice.settings).make_line)
        remarks += edited(cell.runs) if cell else []
        low, high = cell.interval if cell and cell.interval else (None, None)
        rows.append(
            {
                "scenario": scenario,
                "printed": _printed(task, choice, scenario),
                "ours": cell.accuracy if cell else None,
                "low": low,
                "high": high,
                "std": cell.std if cell else None,
                "images": cell.images if cell else None,
                "runs": ", ".join(run.name for run in cell.runs) if cell else None,
            }
        )
    table = pd.DataFrame(rows)
    title = f"{choice.heading(number)}: test accuracy of the scenarios, {task} from {choice.init}"
    return Plot(
        name=choice.name(number),
        title=title,
        caption="Whiskers: the 95 % Wilson interval over the test images; over several seeds, the "
        f"standard deviation. {choice.settings_in_words}",
        table=table,
        draw=(lambda width: _draw_accuracy(table, title, width))
        if len(missing) < len(SCENARIOS)
        else None,
        missing=tuple(missing),
        remarks=tuple(remarks),
    )


def time(number: str, choice: Choice, records: Records) -> Plot:
    """Figure 9: bars of training time."""
    task = choice.task or _TASK
    rows, missing, remarks, machines = [], [], [], set()
    for scenario in SCENARIOS:
        wanted = RunPlan(task, choice.init, scenario, choice.settings)
        run = pick(records, wanted)
        if run is None or run.state != states.TRAINED or not run.record.seconds:
            missing.append(wanted.make_line)
            continue
        machines.add(_machine(run))
        remarks += edited([run])
        rows.append(
            {
                "scenario": scenario,
                "hours": run.record.seconds / 3600,
                "iterations": run.record.iteration,
                "machine": _machine(run),
                "run": run.name,
            }
        )
    table = pd.DataFrame(rows)
    title = f"{choice.heading(number)}: training time of the scenarios, {task} from {choice.init}"
    if len(machines) > 1:
        remarks.append("the runs were trained on different machines: their times can't be compared")
    return Plot(
        name=choice.name(number),
        title=title,
        caption=f"Training and validation, on {', '.join(sorted(machines)) or 'no machine yet'}. "
        f"{choice.settings_in_words}",
        table=table,
        draw=(lambda width: _draw_time(table, title, width)) if rows else None,
        missing=tuple(missing),
        remarks=tuple(remarks),
    )


def _draw_accuracy(table: pd.DataFrame, title: str, page: float) -> Figure:
    figure = Figure(figsize=(page, 3.2), layout="constrained")
    axes = figure.subplots()
    places = range(len(table))
    has_printed = bool(table["printed"].notna().any())
    width = 0.38 if has_printed else 0.6
    if has_printed:
        bars = axes.bar(
            [place - width / 2 for place in places],
            table["printed"].astype(float),
            width,
            label="printed",
            color=PRINTED_COLOUR,
            hatch="///",
            edgecolor="white",
        )
        axes.bar_label(
            bars, [_text(value) for value in table["printed"]], padding=2, fontsize=SMALLEST
        )
    shift = width / 2 if has_printed else 0
    ours = table["ours"].astype(float)
    below = (ours - table["low"].astype(float)).fillna(table["std"].astype(float)).fillna(0)
    above = (table["high"].astype(float) - ours).fillna(table["std"].astype(float)).fillna(0)
    bars = axes.bar(
        [place + shift for place in places],
        ours,
        width,
        yerr=[below, above],
        label="ours",
        color=COLOURS[0],
        error_kw={"elinewidth": 0.8, "capsize": 2},
    )
    axes.bar_label(bars, [_text(value) for value in ours], padding=2, fontsize=SMALLEST)
    axes.set_xticks(places, _names(page))
    axes.set_xlim(-0.6, len(table) - 0.4)  # also where only some of the bars are there
    axes.set_ylabel("test accuracy")
    axes.set_title(wrapped_title(title, page))
    axes.margins(y=0.22)
    if has_printed:
        axes.legend(ncols=2, loc="upper right")
    bare(axes)
    axes.grid(axis="x", visible=False)
    return figure


def _draw_time(table: pd.DataFrame, title: str, page: float) -> Figure:
    figure = Figure(figsize=(page, 3.0), layout="constrained")
    axes = figure.subplots()
    hours = bool(table["hours"].max() >= 1)
    values = table["hours"] * (1 if hours else 60)
    places = [list(SCENARIOS).index(scenario) for scenario in table["scenario"]]
    bars = axes.bar(places, values, 0.6, color=COLOURS[0])
    axes.set_xticks(range(len(SCENARIOS)), _names(page))
    axes.set_xlim(-0.5, len(SCENARIOS) - 0.5)
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=2, fontsize=SMALLEST)
    axes.set_ylabel("training time, hours" if hours else "training time, minutes")
    axes.set_title(wrapped_title(title, page))
    axes.margins(y=0.12)
    bare(axes)
    axes.grid(axis="x", visible=False)
    return figure


def _names(page: float) -> list[str]:
    """The scenarios' names, in two lines where a column has no room for one."""
    return [name.replace("_", "_\n") if is_column(page) else name for name in SCENARIOS]


def _printed(task: str, choice: Choice, scenario: str) -> float | None:
    if choice.init != "hybrid" or choice.settings != PAPER:
        return None
    return printed.by_scenario().get((task, scenario))


def _machine(run: RecordedRun) -> str:
    """On what a run was trained, in words: its time depends on it."""
    words = []
    for session in run.record.sessions:
        engine = session.engine
        if session.gpu is not None:
            words.append(f"GPU {session.gpu}")
        else:
            words.append(f"CPU ({engine.get('blas_kernel')}, {engine.get('threads')} threads)")
    return " and ".join(dict.fromkeys(words)) or "an unknown machine"


def _text(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"

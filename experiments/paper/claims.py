"""Does the paper hold? What its section 5 claims, beside its own numbers and those of our runs.

A claim is judged only by runs that are there; what must run to judge it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import pvariance

from experiments.grid.definition import GRIDS
from experiments.paper import printed
from experiments.paper.counted import counted
from experiments.paper.intervals import beyond_chance, wilson
from experiments.paper.predictions import read_confusion
from experiments.paper.seed_groups import SeedGroup, best, find, group_by_seed
from experiments.paper.tables import SHORT_SCHEDULE
from experiments.paper.valid_runs import Records
from experiments.single_run.confusion import most_confused
from experiments.single_run.run_json import TRAINED
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS

HOLDS, DOES_NOT, OPEN = "holds", "does not hold", "not run yet"

_STYLE = "wikiart_style"
_TOP_PAIRS = 10  # a pair of classes is "often confused" when it is among so many

Values = dict[str, float]  # name -> accuracy, of one task


@dataclass(frozen=True)
class Claim:
    """One claim of the paper."""

    says: str
    section: str
    paper: str  # what the paper's own numbers give
    ours: str
    verdict: str  # HOLDS, DOES_NOT or OPEN


def claims(records: Records) -> list[Claim]:
    """Every claim, in the order of the paper."""
    every = group_by_seed(records.tested)
    return [
        _hybrid_is_best(every),
        _flickr_is_lowest(every),
        _variance_by_kind(every),
        _skipping_is_best(every),
        _skipping_is_faster(records),
        _short_schedule(every),
        _better_than_before(every),
        *_confusions(records, every),
    ]


# ---- section 5.1: initialisations ----------------------------------------------------------------


def _hybrid_is_best(every: Sequence[SeedGroup]) -> Claim:
    says = "For most tasks the highest accuracy is that from Hybrid-CNN."
    theirs = [_highest(_printed_inits(task)) == "hybrid" for task in printed.tasks()]
    ours = _with_all(every, lambda task: {i: find(every, task, i, "all") for i in printed.INITS})
    wins = [_highest(_values(groups)) == "hybrid" for groups in ours.values()]
    clear = [_is_clear(groups) for groups in ours.values() if _highest(_values(groups)) == "hybrid"]
    return _counted_claim(
        says,
        "5.1",
        f"in {sum(theirs)} of {len(theirs)} tasks",
        wins,
        f"; by more than chance allows in {sum(clear)}",
        "table2",
    )


def _flickr_is_lowest(every: Sequence[SeedGroup]) -> Claim:
    says = "The Flickr network is worse than the others for all tasks."
    theirs = [_lowest(_printed_inits(task)) == "flickr" for task in printed.tasks()]
    ours = _with_all(every, lambda task: {i: find(every, task, i, "all") for i in printed.INITS})
    lowest = [_lowest(_values(groups)) == "flickr" for groups in ours.values()]
    return _counted_claim(
        says,
        "5.1",
        f"lowest in {sum(theirs)} of {len(theirs)} tasks",
        lowest,
        "",
        "table2",
        all_of_them=True,
    )


def _variance_by_kind(every: Sequence[SeedGroup]) -> Claim:
    says = "The variance over the initialisations is high for artist and low for genre."
    theirs = {t: pvariance(_printed_inits(t).values()) for t in printed.tasks()}
    groups = _with_all(every, lambda task: {i: find(every, task, i, "all") for i in printed.INITS})
    ours = {task: pvariance(_values(of_task).values()) for task, of_task in groups.items()}
    artists, genres = _of_kind(ours, "artist"), _of_kind(ours, "genre")
    if not artists or not genres:
        return _open(says, "5.1", _ranges(theirs), "table2")
    holds = min(artists) > max(genres)
    return Claim(says, "5.1", _ranges(theirs), _ranges(ours), HOLDS if holds else DOES_NOT)


# ---- section 5.2: scenarios ----------------------------------------------------------------------


def _skipping_is_best(every: Sequence[SeedGroup]) -> Claim:
    says = "In most tasks it is best to leave the first layer, or the first two, as they are."
    skipping = ("skip_first", "skip_first2")
    theirs = [
        _highest({s: printed.by_scenario()[task, s] for s in SCENARIOS}) in skipping
        for task in printed.tasks()
    ]
    ours = _with_all(every, lambda task: {s: find(every, task, "hybrid", s) for s in SCENARIOS})
    wins = [_highest(_values(groups)) in skipping for groups in ours.values()]
    clear = [
        _is_clear({s: g for s, g in groups.items() if s not in skipping or s == best_of})
        for groups in ours.values()
        if (best_of := _highest(_values(groups))) in skipping
    ]
    return _counted_claim(
        says,
        "5.2",
        f"in {sum(theirs)} of {len(theirs)} tasks",
        wins,
        f"; better than all others by more than chance allows in {sum(clear)}",
        "table3",
    )


def _skipping_is_faster(records: Records) -> Claim:
    says = "Freezing the first two layers takes significantly less time (WikiArt style)."
    hours = {}
    for scenario in ("all", "skip_first2"):
        runs = [
            run
            for run in records.runs
            if (run.task, run.plan.init, run.plan.scenario) == (_STYLE, "hybrid", scenario)
            and run.state == TRAINED
            and run.record.seconds
            and run.record.iteration
            and not run.edits
        ]
        if runs:
            hours[scenario] = min(run.record.seconds / run.record.iteration for run in runs)
    paper = "Figure 9 shows it, without numbers"
    if len(hours) < 2:
        return _open(says, "5.2", paper, "table3")
    share = hours["skip_first2"] / hours["all"]
    ours = f"an iteration takes {share:.0%} of the time of training all layers"
    return Claim(says, "5.2", paper, ours, HOLDS if share < 1 else DOES_NOT)


# ---- section 5.3: the best -----------------------------------------------------------------------


def _short_schedule(every: Sequence[SeedGroup]) -> Claim:
    says = "20 epochs from 1e-3, divided by 10, come within about 3 points of the best (style)."
    table4 = next(each for each in printed.best() if each.task == _STYLE and each.is_ours_in_paper)
    paper = f"{printed.SHORT_SCHEDULE_ACCURACY:.2%} against {table4.accuracy:.2%}"
    short = best([g for g in every if g.settings == SHORT_SCHEDULE], _STYLE)
    others = best([g for g in every if g.settings != SHORT_SCHEDULE], _STYLE)
    if short is None or others is None:
        return _open(says, "5.3", paper, "table4")
    low, high = _interval(short)
    ours = (
        f"{short.accuracy:.2%} ({low:.1%} to {high:.1%}) against {others.accuracy:.2%}: "
        f"{100 * (others.accuracy - short.accuracy):.1f} points less"
    )
    holds = others.accuracy - high <= 0.035
    return Claim(says, "5.3", paper, ours, HOLDS if holds else DOES_NOT)


def _better_than_before(every: Sequence[SeedGroup]) -> Claim:
    says = "Fine-tuning CaffeNet so is better than Tan et al. on WikiArt's styles, genres, artists."
    before = {e.task: e for e in printed.best() if e.reference.startswith("Tan")}
    paper_best = {e.task: e.accuracy for e in printed.best() if e.is_ours_in_paper}
    paper = ", ".join(
        f"{task.partition('_')[2]} {paper_best[task]:.2%} against {each.accuracy:.2%}"
        for task, each in before.items()
    )
    found = {task: group for task in before if (group := best(every, task))}
    if not found:
        return _open(says, "5.3", paper, "table4")
    parts, higher = [], []
    for task, group in found.items():
        low, high = _interval(group)
        higher.append(low > before[task].accuracy)
        parts.append(f"{task.partition('_')[2]} {group.accuracy:.2%} ({low:.1%} to {high:.1%})")
    if len(found) < len(before):
        parts.append(f"{counted(len(before) - len(found), 'task')} not run yet")
    verdict = HOLDS if all(higher) and len(found) == len(before) else DOES_NOT
    verdict = OPEN if all(higher) and len(found) < len(before) else verdict
    return Claim(says, "5.3", paper, ", ".join(parts), verdict)


# ---- section 5.4: classes ------------------------------------------------------------------------


def _confusions(records: Records, every: Sequence[SeedGroup]) -> list[Claim]:
    """What section 5.4 says of single classes, by the confusion matrix of the best run."""
    styles, genres = _matrix(every, _STYLE), _matrix(every, "wikiart_genre")
    return [
        _extreme(styles, "ukiyo", "highest", "The most distinct style is Ukiyo-e.", "84 %"),
        _extreme(styles, "academi", "lowest", "The poorest style is Academicism.", "lowest"),
        _taken_for(
            styles,
            (("academi", "realism"),),
            "Academicism is most often taken for Realism.",
            first_only=True,
        ),
        _taken_for(
            styles,
            (("abstract expr", "lyrical"), ("impressionism", "post"), ("rococo", "baroque")),
            "Often confused: Abstract Expressionism and Lyrical Abstraction, Impressionism and "
            "Post-Impressionism, Rococo and Baroque.",
        ),
        _taken_for(
            genres,
            (("cityscape", "landscape"), ("marina", "landscape")),
            "Cityscape and marina are often taken for landscape.",
        ),
        _taken_for(
            genres,
            (("genre", "portrait"), ("nude", "portrait")),
            "Genre and nude paintings are often taken for portraits.",
        ),
    ]


@dataclass(frozen=True)
class _Matrix:
    """The confusion matrix of a task's best run; None where there is none."""

    task: str
    rows: list[tuple[str, int, int]]  # class, right, images
    pairs: list[tuple[str, str, int, float]]


def _matrix(every: Sequence[SeedGroup], task: str) -> _Matrix | None:
    group = best(every, task)
    if group is None:
        return None
    try:
        counts, classes = read_confusion(group.first)
    except UserError:
        return None
    rows = [
        (name, int(counts[n, n]), int(counts[n].sum()))
        for n, name in enumerate(classes)
        if counts[n].sum()
    ]
    return _Matrix(task, rows, most_confused(counts, classes, most=len(classes) ** 2))


def _extreme(found: _Matrix | None, word: str, which: str, says: str, paper: str) -> Claim:
    if found is None or not any(_is_named(name, word) for name, _, _ in found.rows):
        return _open(says, "5.4", paper, "table2")
    ordered = sorted(found.rows, key=lambda row: row[1] / row[2], reverse=which == "highest")
    place = next(n for n, row in enumerate(ordered, start=1) if _is_named(row[0], word))
    name, right, images = ordered[place - 1]
    low, high = wilson(right, images)
    ours = (
        f"{name}: {right / images:.0%} of {images:,} ({low:.0%} to {high:.0%}), "
        f"{_ordinal(place)} {which} of {len(ordered)}"
    )
    if place > 1:
        first, its_right, its_images = ordered[0]
        ours += f"; {which}: {first}, {its_right / its_images:.0%}"
    return Claim(says, "5.4", paper, ours, HOLDS if place == 1 else DOES_NOT)


def _taken_for(
    found: _Matrix | None,
    pairs: Sequence[tuple[str, str]],
    says: str,
    *,
    first_only: bool = False,
) -> Claim:
    """Whether each pair is among the most confused; `first_only`: the true class's first choice."""
    paper = "shown in its confusion matrix"
    if found is None:
        return _open(says, "5.4", paper, "table2")
    parts, holds = [], []
    for one, other in pairs:
        named = [
            (place, pair)
            for place, pair in enumerate(found.pairs, start=1)
            if _is_pair(pair, one, other, both_ways=not first_only)
        ]
        of_true = [pair for pair in found.pairs if _is_named(pair[0], one)]
        if not named:
            known = all(any(_is_named(n, w) for n, _, _ in found.rows) for w in (one, other))
            if not known:
                return _open(says, "5.4", paper, "table2")
            parts.append(f"{one} and {other} are never confused")
            holds.append(False)
            continue
        place, (true, predicted, images, share) = named[0]
        parts.append(f"{true} as {predicted}: {share:.0%} ({images:,}), {_ordinal(place)} of all")
        if first_only:
            holds.append(bool(of_true) and _is_named(of_true[0][1], other))
        else:
            holds.append(place <= _TOP_PAIRS)
    return Claim(says, "5.4", paper, "; ".join(parts), HOLDS if all(holds) else DOES_NOT)


def _is_pair(pair: tuple[str, str, int, float], one: str, other: str, *, both_ways: bool) -> bool:
    true, predicted = pair[:2]
    forth = _is_named(true, one) and _is_named(predicted, other)
    back = _is_named(true, other) and _is_named(predicted, one)
    return forth or (both_ways and back)


def _is_named(name: str, word: str) -> bool:
    """Whether a class is meant by a word: 'impressionism' is not Post-Impressionism."""
    plain = name.casefold().replace("_", " ").replace("-", " ").strip()
    if word in ("impressionism", "realism", "genre"):
        return plain.removesuffix(" painting") == word
    return plain.startswith(word)


# ---- parts ---------------------------------------------------------------------------------------


def _with_all(
    every: Sequence[SeedGroup], of_task: Callable[[str], dict[str, SeedGroup | None]]
) -> dict[str, dict[str, SeedGroup]]:
    """The tasks of which every group is there."""
    found = {}
    for task in printed.tasks():
        groups = of_task(task)
        known = {name: group for name, group in groups.items() if group is not None}
        if len(known) == len(groups):
            found[task] = known
    return found


def _counted_claim(
    says: str,
    section: str,
    paper: str,
    wins: list[bool],
    more: str,
    grid: str,
    *,
    all_of_them: bool = False,
) -> Claim:
    """A claim on most tasks (or on all), judged by those that have all their runs."""
    if not wins:
        return _open(says, section, paper, grid)
    left = len(printed.tasks()) - len(wins)
    ours = f"in {sum(wins)} of {counted(len(wins), 'task')}{more}"
    ours += f"; {counted(left, 'task')} not run yet" if left else ""
    holds = all(wins) if all_of_them else sum(wins) > len(wins) / 2
    return Claim(says, section, paper, ours, HOLDS if holds else DOES_NOT)


def _open(says: str, section: str, paper: str, grid: str) -> Claim:
    return Claim(says, section, paper, f"to know, run: make grid GRID={GRIDS / grid}.toml", OPEN)


def _is_clear(groups: dict[str, SeedGroup]) -> bool:
    """Whether the highest is above the second by more than chance allows (as in the tables)."""
    first, second, *_ = sorted(groups.values(), key=lambda group: -group.accuracy)
    return beyond_chance(
        first.accuracy,
        first.images,
        second.accuracy,
        second.images,
        runs=len(first.runs),
        std=first.std,
    )


def _interval(group: SeedGroup) -> tuple[float, float]:
    """The 95 % interval of a group; of several seeds the mean and twice their deviation."""
    if group.interval:
        return group.interval
    reach = 2 * (group.std or 0.0)
    return group.accuracy - reach, group.accuracy + reach


def _printed_inits(task: str) -> Values:
    return {init: printed.by_init()[task, init] for init in printed.INITS}


def _values(groups: dict[str, SeedGroup]) -> Values:
    return {name: group.accuracy for name, group in groups.items()}


def _highest(values: Values) -> str:
    return max(values, key=lambda name: values[name])


def _lowest(values: Values) -> str:
    return min(values, key=lambda name: values[name])


def _of_kind(variances: Values, kind: str) -> list[float]:
    return [value for task, value in variances.items() if task.endswith(kind)]


def _ranges(variances: Values) -> str:
    """'artist 9.88e-4 to 36.2e-4, genre 0.72e-4 to 1.63e-4'."""
    words = []
    for kind in ("artist", "genre"):
        values = [printed.scientific(value) for value in sorted(_of_kind(variances, kind))]
        words.append(
            f"{kind} {values[0]} to {values[-1]}" if len(values) > 1 else f"{kind} {values[0]}"
        )
    return ", ".join(words)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{'th' if 10 < number % 100 < 14 else ending}"

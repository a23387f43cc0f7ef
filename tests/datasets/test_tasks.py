"""The file of tasks that a person edits."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.tasks import get_task, load_tasks
from lib.errors import UserError

GOOD = 'source = "wga"\nlabel = "artist"\nmore_than = 170\n'


def write(folder: Path, body: str, name: str = "mine") -> Path:
    file = folder / "tasks.toml"
    file.write_text(f"[{name}]\n{body}", encoding="utf-8")
    return file


def test_more_than_and_at_least_differ_by_one(tmp_path: Path) -> None:
    more = get_task("mine", write(tmp_path, GOOD))
    least = get_task("mine", write(tmp_path, GOOD.replace("more_than", "at_least")))
    assert (more.minimum, more.rule) == (171, "more than 170")
    assert (least.minimum, least.rule) == (170, "at least 170")


def test_the_projects_own_tasks_are_sound() -> None:
    tasks = load_tasks()
    assert tasks["met_nationality"].minimum == 15


def test_a_misspelt_task_is_told_its_neighbours() -> None:
    with pytest.raises(UserError, match="did you mean met_nationality"):
        get_task("met_nationalty")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (GOOD + 'froms = ["painting"]', "unknown key in .*'froms': did you mean forms"),
        (GOOD + "at_least = 5", "one of more_than and at_least"),
        (GOOD.replace("more_than = 170", ""), "one of more_than and at_least"),
        (GOOD.replace("170", '"170"'), "must be a whole number"),
        (GOOD.replace("170", "true"), "must be a whole number"),
        (GOOD.replace("170", "-1"), "must be 0 or more"),
        (GOOD.replace("wga", "wgaa"), "did you mean wga"),
        (GOOD.replace("artist", "artists"), "did you mean artist"),
        (GOOD.replace('label = "artist"', ""), "has no label"),
        (GOOD + 'collection = "x"', "collection belongs to"),
        (GOOD.replace("wga", "folder"), "collection belongs to"),
        (GOOD + 'forms = "painting"', "must be a list"),
        (GOOD + "paper = {classes = 3, image = 5}", "'image': did you mean images"),
        (GOOD + "label = 3", "tasks.toml: "),
        ("source = \n", "tasks.toml: "),
    ],
)
def test_mistakes_are_named(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load_tasks(write(tmp_path, body))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["raw", "'my task'", "'../up'", "'fc8-x'"])
def test_names_that_are_no_folder_of_ours_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="a name is letters"):
        load_tasks(write(tmp_path, GOOD, name))


def test_a_value_without_its_task_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tasks.toml"
    file.write_text('source = "wga"\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"begins with a line \[source\]"):
        load_tasks(file)


def test_what_all_tasks_of_a_source_share(tmp_path: Path) -> None:
    shared = '\n[sources.wga]\nforms = ["painting"]\nlabels_left_out = ["x"]\n'
    file = write(tmp_path, GOOD + "labels_left_out = []\n" + shared)
    task = get_task("mine", file)
    assert (task.forms, task.labels_left_out) == (("painting",), ())  # its own come first
    other = GOOD.replace("wga", "wikiart")
    assert get_task("mine", write(tmp_path, other + shared)).forms == ()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("[sources.wgaa]\n", "'wgaa': did you mean wga"),
        ('[sources.wga]\nform = ["a"]\n', "'form': did you mean forms"),
        ("[sources.wga]\nmore_than = 3\n", "unknown key in .*'more_than'"),
        ("[sources]\nwga = 3\n", "sources.wga is 3"),
    ],
)
def test_mistakes_in_what_is_shared(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_tasks(write(tmp_path, GOOD + body))

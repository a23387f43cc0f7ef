"""REQUIRE_VERIFIED=1 is heard by every step of a run."""

from __future__ import annotations

import pytest

from experiments.single_run.step_flags import means_from, step_parser


@pytest.mark.parametrize("words", [[], ["--require-verified"]])
def test_the_flag_is_a_mean_of_a_run(words: list[str]) -> None:
    flags = step_parser("").parse_args(["--task", "met_nationality", *words])
    assert means_from(vars(flags)).require_verified is bool(words)

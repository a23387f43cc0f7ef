"""`make doctor`: what is there, what is missing, and the exit code."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.caffe.client import Engine
from models.cards import init_names
from tools import doctor
from tools.doctor import FAULT, MISSING, OK

PROJECT = Path(__file__).resolve().parents[2]


def run_doctor(raw: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.doctor", "--raw", str(raw)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_a_machine_with_caffe_can_run(engine: Engine, tmp_path: Path) -> None:
    done = run_doctor(tmp_path, CAFFE_PYTHON=str(engine.python))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Caffe 1.0" in done.stdout
    assert "BLAS: " in done.stdout
    assert "GPU" in done.stdout
    assert " free for " in done.stdout
    for init in init_names():
        assert f"{init}: " in done.stdout
    for source in ("met", "wga", "wikiart", "ticc"):
        assert f"the catalogue of {source}: goes into {tmp_path}/{source}/" in done.stdout
    assert done.stdout.endswith("The main job can run.\n")


def test_without_caffe_it_fails_and_says_why(tmp_path: Path) -> None:
    done = run_doctor(tmp_path, CAFFE_PYTHON=str(tmp_path / "none"))
    assert done.returncode == 1
    assert f"FAULT  CAFFE_PYTHON={tmp_path}/none is not a program" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_python_without_caffe_is_a_fault(tmp_path: Path) -> None:
    done = run_doctor(tmp_path, CAFFE_PYTHON=sys.executable)
    assert done.returncode == 1
    assert "No module named 'caffe'" in done.stdout


def test_packages_missing_and_out_of_range_are_named() -> None:
    numpy = importlib.metadata.version("numpy")
    findings = doctor.check_packages(["numpy>=99", "fine-art-caffe-no-such>=1", "tqdm"])
    assert [finding.mark for finding in findings] == [FAULT, FAULT]
    assert findings[0].words == f"numpy is {numpy}, >=99 is needed; make venv"
    assert findings[1].words == "fine-art-caffe-no-such is missing; make venv"
    assert doctor.check_packages(["numpy>=1"])[0].mark == OK


ZEN4 = {"sse2", "avx", "avx2", "fma", "avx512f"}
OLD = {"sse2"}


@pytest.mark.parametrize(
    ("blas", "kernel", "flags", "mark"),
    [
        ("/x/libopenblasp-r0.3.13.so", "Zen", ZEN4, OK),
        ("/x/libopenblasp-r0.3.13.so", "Prescott", ZEN4, MISSING),
        ("/x/libopenblasp-r0.3.13.so", "Penryn", OLD, OK),
        ("/x/libmkl_rt.so", None, ZEN4, OK),
        ("/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.9.0", None, ZEN4, MISSING),
        (None, None, ZEN4, OK),
    ],
)
def test_a_slow_blas_is_said(
    blas: str | None, kernel: str | None, flags: set[str], mark: str
) -> None:
    about = {"blas": blas, "blas_version": None, "blas_kernel": kernel, "threads": 2}
    finding = doctor.judge_blas(about, flags)
    assert finding.mark == mark
    assert "BLAS" in finding.words


def test_a_full_disk_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_disk(tmp_path)[0].mark == OK
    monkeypatch.setattr(doctor, "_SPACE", 10**18)  # more than any disk has
    assert doctor.check_disk(tmp_path)[0].mark == FAULT

"""Which changes of the engine are told when a run goes on."""

from __future__ import annotations

from typing import Any

from lib.caffe.same_bits import engine_changes

OLD: dict[str, Any] = {  # as records had it before the version was noted
    "caffe": "1.0.0",
    "blas": "/a/.caffe/root/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblasp-r0.3.13.so",
    "blas_kernel": "Zen",
    "threads": 2,
}
TODAYS = OLD | {
    "blas": "/a/.caffe/root/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0",
    "blas_version": "0.3.34",
    "blas_kernel": "SkylakeX",
}


def test_the_same_engine_in_an_old_record_and_elsewhere() -> None:
    moved = OLD | {"blas": "/b/libopenblasp-r0.3.13.so", "blas_version": "0.3.13"}
    assert engine_changes(OLD, moved) == []
    assert engine_changes(TODAYS, dict(TODAYS)) == []


def test_another_blas_is_named_with_both_versions() -> None:
    assert engine_changes(OLD, TODAYS) == [
        "BLAS OpenBLAS 0.3.13, now OpenBLAS 0.3.34",
        "BLAS kernel Zen, now SkylakeX",
    ]
    assert engine_changes(TODAYS, TODAYS | {"blas_version": "0.3.35"}) == [
        "BLAS OpenBLAS 0.3.34, now OpenBLAS 0.3.35"
    ]


def test_other_threads_and_another_make_of_blas() -> None:
    mkl = {"caffe": "1.0.0", "blas": "/x/libmkl_rt.so", "blas_kernel": None, "threads": None}
    assert engine_changes(OLD, OLD | {"threads": 1}) == ["threads 2, now 1"]
    assert "BLAS OpenBLAS 0.3.13, now libmkl_rt.so" in engine_changes(OLD, mkl)
    assert engine_changes(mkl, mkl | {"blas": None}) == ["BLAS libmkl_rt.so, now None"]

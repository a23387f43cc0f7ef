"""The programs in `.caffe/bin`: small shell scripts that start the unpacked ones."""

from __future__ import annotations

from pathlib import Path

from lib.caffe.install.kernels import TABLE

PROGRAMS = {
    "python": "python3.9",
    "caffe": "caffe",
    "convert_imageset": "convert_imageset",
    "compute_image_mean": "compute_image_mean",
    "extract_features": "extract_features",
    "caffe-gtest": "caffe-gtest",
}

_LAUNCHER = """\
#!/bin/sh
# Starts {program} of the Caffe in this folder, which may be moved and linked to.
_caffe_self=$(readlink -f -- "$0")
_caffe_home=${{_caffe_self%/bin/*}}
. "$_caffe_home/environment.sh"
exec "$_caffe_home/root/usr/bin/{program}" "$@"
"""

# The words of the processor's name here must be those of kernels.processor().
_ENVIRONMENT = f"""\
# Read by the programs in bin/, with $_caffe_home set to this folder. All names of its own begin
# with _caffe_: a plain one might be a variable that the user has exported.

# These may point a program at another Caffe or another Python.
unset PYTHONPATH PYTHONHOME LD_LIBRARY_PATH
export PYTHONNOUSERSITE=1

# OpenBLAS's kernel: the user's word, else what was measured on this kind of processor, else
# Haswell for any that has AVX2 (this OpenBLAS may take newer processors for very old ones).
if [ -z "$OPENBLAS_CORETYPE" ]; then
    unset OPENBLAS_CORETYPE
    while IFS= read -r _caffe_line; do
        _caffe_value=${{_caffe_line#*: }}
        case $_caffe_line in
            "cpu family"*) _caffe_family=$_caffe_value ;;
            "model name"*) _caffe_name=$_caffe_value ;;
            "model"*) _caffe_model=$_caffe_value ;;
            "flags"*) _caffe_flags=" $_caffe_value "; break ;;
        esac
    done < /proc/cpuinfo
    _caffe_processor="$_caffe_name, family $_caffe_family, model $_caffe_model"
    for _caffe_flag in avx avx2 fma avx512f avx512dq avx512bw avx512vl avx512cd; do
        case $_caffe_flags in
            *" $_caffe_flag "*) _caffe_processor="$_caffe_processor $_caffe_flag" ;;
        esac
    done
    _caffe_kernel=
    while IFS="\t" read -r _caffe_known _caffe_best; do
        [ "$_caffe_known" = "$_caffe_processor" ] && _caffe_kernel=$_caffe_best
    done < "$_caffe_home/{TABLE}"
    if [ -z "$_caffe_kernel" ]; then
        case $_caffe_processor in *" avx2 fma"*) _caffe_kernel=Haswell ;; esac
    fi
    case $_caffe_kernel in ""|own) ;; *) export OPENBLAS_CORETYPE="$_caffe_kernel" ;; esac
fi
"""


def write_launchers(folder: Path) -> None:
    """Write `folder`/bin/* and the environment they share."""
    (folder / "environment.sh").write_text(_ENVIRONMENT, encoding="utf-8")
    (folder / TABLE).touch()
    (folder / "bin").mkdir()
    for name, program in PROGRAMS.items():
        launcher = folder / "bin" / name
        launcher.write_text(_LAUNCHER.format(program=program), encoding="utf-8")
        launcher.chmod(launcher.stat().st_mode | 0o111)

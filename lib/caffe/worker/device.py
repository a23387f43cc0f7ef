"""CPU or GPU, decided before anything is built."""

import caffe
from errors import WorkerError
from verb_about import gpu_works


def choose(gpu):
    """Make Caffe compute on GPU `gpu`, or on the CPU when it is None.

    Raises WorkerError when the GPU or a GPU build of Caffe is not there (Caffe itself would abort).
    """
    if gpu is None:
        caffe.set_mode_cpu()
        return
    if not gpu_works(gpu):
        raise WorkerError(
            "GPU {} was asked for, but this Caffe ({}) cannot use it: it is a CPU-only build, or "
            "there is no such GPU; GPU=none trains on the CPU".format(gpu, caffe.__file__)
        )
    caffe.set_device(gpu)
    caffe.set_mode_gpu()

"""Score anybody's .caffemodel on the test images of a task, each exactly once.

The weights go into CaffeNet with the task's classes, whatever their classifier is called; or, with
--net, into the net that they were trained with: its train_val.prototxt or its deploy.prototxt.
Whether they fit is looked at first.
"""

from __future__ import annotations

from pathlib import Path

from datasets.folders import SPLITS, data_folder
from datasets.tasks import get_task
from experiments.compare.foreign_weights import score_foreign, summary
from lib.caffe.device import add_device_flags, pick_device
from lib.cli import Parser, run
from lib.errors import unknown


def main() -> None:
    """Command line: see --help."""
    parser = Parser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="the .caffemodel to score")
    parser.add_argument("--task", required=True, help="task on whose test images")
    parser.add_argument(
        "--mean",
        type=Path,
        help="the mean that the weights were trained with (default: the net's own; without a net "
        "that has one, the task's)",
    )
    parser.add_argument(
        "--net", type=Path, help="train_val or deploy prototxt of the weights (default: CaffeNet)"
    )
    parser.add_argument(
        "--split", default="by_image", help="split of the test images (%(default)s)"
    )
    parser.add_argument("--split-seed", type=int, default=1, help="its seed (%(default)s)")
    add_device_flags(parser)
    arguments = parser.parse_args()
    get_task(arguments.task)
    if arguments.split not in SPLITS:
        raise unknown("split", arguments.split, SPLITS)
    data = data_folder(arguments.task, seed=arguments.split_seed, split=arguments.split)
    scored = score_foreign(
        arguments.weights,
        arguments.task,
        data,
        lambda: pick_device(arguments.gpu, arguments.threads),
        mean=arguments.mean,
        net=arguments.net,
    )
    print(summary(scored))


if __name__ == "__main__":
    run(main)

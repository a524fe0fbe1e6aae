"""Which networks teach best together: their accuracy on images that none of them has learnt from.

    python tools/compare_teachers.py shiftvit patchconvnet runs/resnet-wide --data cifar10.tar.gz

Every network answers once to the validation images that are left when all that any of them, their
initial weights and their teachers have learnt from is taken away. Then come the softened answers of
every set of them, averaged as `edgevit train --teacher A --teacher B` averages them.
"""

from __future__ import annotations

import argparse
import os
from itertools import combinations

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teachers", nargs="+", help="as `edgevit train --teacher` takes them")
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--temperature", type=float, default=2.0, help="that softens the answers")
    parser.add_argument("--together", type=int, default=3, help="largest number in a set")
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    import numpy as np

    from edgevit.data.datasets import HELD_OUT, find_source, load_dataset, split_validation
    from edgevit.models.history import read_run, share_unseen
    from edgevit.models.weights import find_weights
    from edgevit.training.teacher import TEACHER_BATCH, average_answers, open_teacher

    dataset = load_dataset(find_source(options.data), "train")
    runs = [read_run(find_weights(name).parent) for name in options.teachers]
    share = share_unseen(runs, dataset.source, HELD_OUT)
    _, held = split_validation(dataset, share)
    print(f"{len(held):,} validation images of {held.source} that none of them has seen")
    answers = {}
    for name in options.teachers:
        network = open_teacher(name, dataset, options.precision).network
        answers[name] = network.predict(held.images, TEACHER_BATCH, verbose=0)["logits"]
    for count in range(1, min(options.together, len(answers)) + 1):
        for names in combinations(answers, count):
            together = average_answers([answers[name] for name in names], options.temperature)
            right = np.mean(np.argmax(together, axis=-1) == held.labels)
            print(f"{100 * right:6.2f} %  {' + '.join(names)}")


if __name__ == "__main__":
    main()

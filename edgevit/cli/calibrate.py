"""``edgevit calibrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgevit.base.lean import import_frameworks
from edgevit.cli import console, options
from edgevit.cli.completion import complete_models
from edgevit.core.format import Format
from edgevit.quantization.clipping import DEFAULT_METHOD, METHODS

if TYPE_CHECKING:
    from edgevit.verbs.calibrate import Calibration


@options.of_value
def read_formats(names: str) -> tuple[Format, ...]:
    """``--format tflite,onnx``: in the order of the formats, whatever the order of the names."""
    from edgevit.base.errors import check_names
    from edgevit.base.naming import split_names
    from edgevit.verbs.calibrate import CALIBRATED

    wanted = split_names(names) or [""]
    check_names("format to calibrate", wanted, CALIBRATED)
    return tuple(kind for kind in CALIBRATED if kind in wanted)


@click.command()
@click.argument("model", shell_complete=complete_models)
@options.data
@click.option(
    "--images",
    type=options.COUNT,
    default=300,
    help="How many training images, the same number of each class.",
)
@click.option(
    "--method",
    type=click.Choice(tuple(METHODS)),
    default=DEFAULT_METHOD,
    help="How a range is chosen: all that was seen, all but 0.01 % of it, the least squared error "
    "of 256 levels, or the least Kullback-Leibler divergence.",
)
@click.option("--seed", default=0, help="Of the draw of images.")
@click.option(
    "--format",
    "formats",
    default="tflite,onnx",
    callback=read_formats,
    metavar="FORMAT[,FORMAT]",
    help="Whose graphs are measured.",
)
@click.option(
    "--out",
    type=options.PATH,
    metavar="FILE",
    help="The file of ranges.  [default: <model>-ranges.json here]",
)
@options.of_formats("surgery", "preprocess")
@options.workers
@options.reading
@options.as_json
def calibrate(
    model: str,
    data: str | None,
    jobs: int | None,
    ray: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Measure the activation ranges that int8 files of MODEL need, and write them to a file.

    Training images are drawn by a seed and compared with the test images, so that none of those is
    used. The file holds the extremes and a histogram of every activation, does not depend on the
    order of the images, and serves 'edgevit export --ranges' as often as you like, without images.

    \b
    edgevit calibrate runs/vit --data cifar10.tar.gz
    edgevit export runs/vit --format tflite-int8,onnx-int8 --ranges vit-ranges.json
    edgevit calibrate my.keras --scaling unit --data photos/ --images 500 --method mse
    """
    options.check_model(model)
    with console.working() as work:
        from edgevit.data.datasets import find_source
        from edgevit.verbs.calibrate import calibrate as measure

        chosen["workers"] = options.choose_workers(jobs, ray)
        work.status("importing Keras and TensorFlow")
        import_frameworks()
        chosen |= {"status": work.status, "progress": work.advance}
        found = measure(model, find_source(data), **chosen)
    console.answer(_document(found), as_json, lambda: _text(found))


def _document(found: Calibration) -> dict[str, Any]:
    first = next(iter(found.records.values()))
    return {
        "path": str(found.path),
        "images": first.images,
        "source": first.source,
        "images_sha256": first.images_sha256,
        "seed": found.seed,
        "method": first.method,
        "test_images_compared": found.test_images,
        "left_out": found.left_out,
        "records": {
            str(kind): {
                "graph": record.graph,
                "tensors": len(record.ranges),
                "clipped": len(record.seen),
                "sha256": record.digest,
            }
            for kind, record in found.records.items()
        },
        "seconds": round(found.seconds, 2),
    }


def _text(found: Calibration) -> str:
    first = next(iter(found.records.values()))
    size = console.megabytes(found.path.stat().st_size)
    lines = [
        f"{console.shown_path(found.path)} ({size} MB): {first.method} ranges of {first.images} "
        f"images ({first.source}, seed {found.seed}) in {found.seconds:.0f} s"
    ]
    for kind, record in found.records.items():
        clipped = f", {len(record.seen)} narrower than seen" if record.seen else ""
        lines.append(f"  {kind}: {len(record.ranges)} tensors of {record.graph}{clipped}")
    if found.test_images is None:
        lines.append("  a plain folder of pictures: nothing to compare with test images")
    else:
        lines.append(
            f"  compared with {found.test_images:,} test images: {found.left_out} left out"
        )
    return "\n".join(lines)

"""Makes artifacts/<model>/ from a finished training run: what `edgevit export` needs anywhere.

    python tools/ship_weights.py runs/shiftvit --data cifar10-jpeg.tar.gz
    python tools/write_registry.py

Writes weights (float16), activation ranges measured on training images, the training log, the
learning curves, the recipe and a model card with accuracies that are measured here, once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

from record_ranges import record_ranges
from record_robustness import record_robustness

from edgevit.base.files import write_whole
from edgevit.core.format import Format
from edgevit.frontend.opening import open_source
from edgevit.models import find_model, split_name
from edgevit.models.shipped import ARTIFACTS
from edgevit.models.weights import RANGE_FILES, WEIGHTS_FILE
from edgevit.training.recipe import RECIPES
from edgevit.verbs.evaluate import AS_IS, evaluate_robustness

CARD = """\
# {title}

{paper}. Form `{form}`, {parameters:,} parameters, {classes} classes, input {rows}x{columns} (raw
uint8 images; {inside}).

| measured on | images | top-1 | top-5 |
| --- | --- | --- | --- |
| validation (held out of the training images) | {validation_images:,} | {validation_top1:.2f} % | |
| test (nothing was chosen by it) | {test_images:,} | {test_top1:.2f} % | {test_top5:.2f} % |

Data: `{data}`: CIFAR-10 (Krizhevsky 2009) re-encoded as JPEG at quality 75 with chroma subsampling,
so these figures are "CIFAR-10 (JPEG q75)" and not comparable to the digit with the original pixels.
{train_images:,} images to train, {validation_images:,} to validate: a seeded, stratified split.

{history}
| file | what |
| --- | --- |
| `weights.safetensors` | the averaged weights in float16, with the config inside |
| `ranges.json` | activation ranges over {ranges_images} training images (digest inside), for int8 |
| `ranges-onnx.json` | the same of the ONNX graph |
| `robustness.json` | the accuracies of the table above, with their reports |
| `log.csv`, `curves.png` | one row an epoch of the last run; its learning curves |
{logs}| `recipe.json` | the recipe; `initial`: the run before it; `teachers` of it |

Intended for showing that an export arrives unharmed and for comparing runtimes; ten classes of
32x32 photographs are no product. The network sees nothing but the whole image: no detection, no
rejection of what is none of the ten.
"""


RUN = """\
{number}. Recipe `{recipe}`, seed {seed}, from {start}: {completed} of {epochs} epochs{products}
   on {images:,} images, batch {batch}, {optimizer} at {rate:g} (weight decay {decay:g}), warm-up
   and cosine, label smoothing {smoothing:g}, {augmentation},
   stochastic depth up to {drop_path:g}, {patches}moving average of the weights ({ema:g}).
   {sizes}{teaching}Validation {top1:.2f} %.
   {trainer}`edgevit train {name} --recipe {file} --seed {seed}{options} --data PATH`
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--data", required=True, help="the dataset that it was trained on")
    options = parser.parse_args()
    source = open_source(options.run)
    folder = ARTIFACTS / source.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS_FILE, "log.csv", "curves.png", "recipe.json"):
        shutil.copyfile(options.run / name, folder / name)
    record = record_ranges(source, options.data, folder, list(RANGE_FILES))[Format.TFLITE]
    measured = evaluate_robustness(source.name, options.data)
    test = measured[AS_IS]
    run = json.loads((options.run / "recipe.json").read_text())
    write_whole(folder / "README.md", describe(source, record, run, test).encode())
    record_robustness(folder, {"keras-float32": measured})
    print(f"{source.name}: test top-1 {test.top1:.2f} %, top-5 {test.top5:.2f} %")


def describe(source, record, run: dict, test) -> str:
    """The model card."""
    from edgevit.models.weights import load_model

    plan = load_model(source.name).plan
    assert plan is not None
    rows, columns = source.preprocess.input_size
    spec = plan.spec
    variant = split_name(source.name)[1]
    return CARD.format(
        title=f"{spec.title} {variant}" if variant else spec.title,
        paper=spec.paper,
        form=plan.config.form,
        parameters=source.network.count_params(),
        classes=len(source.class_names),
        rows=rows,
        columns=columns,
        inside=describe_inside(source),
        validation_images=run["validation_images"],
        validation_top1=run["validation_top1"],
        test_images=test.images,
        test_top1=test.top1,
        test_top5=test.top5,
        data=run["data"],
        train_images=run["train_images"],
        history="".join(describe_runs(run, ":".join(filter(None, split_name(source.name))))),
        ranges_images=record.images,
        logs="".join(
            f"| `{path.name}` | the same of the run with that recipe |\n"
            for path in sorted((ARTIFACTS / source.name).glob("log-*.csv"))
        ),
    )


def describe_inside(source) -> str:
    """What happens to the pixels before the network."""
    rows, columns = source.preprocess.network_size
    if source.preprocess.network_size == source.preprocess.input_size:
        return "scaled inside"
    return f"resized to {rows}x{columns} inside"


def describe_teaching(run: dict) -> str:
    """Whom a run was distilled from, as a sentence; empty without a teacher."""
    teachers, recipe = run.get("teachers"), run["recipe"]
    if not teachers:
        return ""
    views = recipe.get("views")
    repeated = f", {views} views an image, in turns" if views else ""
    names = ", ".join(f"{one['model']} (weights {one['sha256'][:12]})" for one in teachers)
    return (
        f"Distilled on the same images from {names}:\n   {recipe['teacher_share']:.0%} of the "
        f"loss, temperature {recipe['temperature']:g}{repeated}. "
    )


def describe_augmentation(recipe: dict) -> str:
    """What happened to the images, as a list; fields of earlier trainers are told too."""
    shares = {
        "cutmix_probability": "CutMix on {:.0%} of the batches",
        "mixup_probability": "MixUp on {:.0%} of the batches",
        "rand_augment": "RandAugment of strength {:g}",
        "trivial_augment": "TrivialAugment on {:.0%} of the images",
        "jpeg_probability": "random JPEG quality on {:.0%} of the images",
    }
    found = [text.format(recipe[key]) for key, text in shares.items() if recipe.get(key)]
    if recipe.get("cutmix_probability") or recipe.get("mixup_probability"):
        found.append(f"none of them mixed after {recipe['mixing_until']:.0%} of the epochs")
    return ", ".join(["random crop and mirror", *found])


def describe_sizes(recipe: dict, resizable: bool) -> str:
    """The image sizes of an earlier trainer's run, as a sentence; empty where there was one."""
    sizes = recipe.get("resolutions") if resizable else None
    if not sizes:
        return ""
    listed = ", ".join(f"{size} px from {first}" for first, size in sizes)
    return f"Image sizes by first epoch: {listed}. "


def describe_patches(recipe: dict) -> str:
    """How much of each image a ViT saw, as part of a list; empty where it saw all."""
    share = recipe["config"].get("patch_dropout", 0.0)
    if not share:
        return ""
    late = recipe.get("final_epochs")
    until = f" up to the last {late} epochs" if late else ""
    return f"{share:.0%} of the patches dropped{until}, "


def describe_options(run: dict) -> str:
    """What a run was told besides its recipe and seed, as it was typed."""
    initial = run.get("initial") or {}
    options = [" --init WEIGHTS"] if initial else []
    for name, value in initial.get("fields", {}).items():
        typed = ",".join(map(str, value)) if isinstance(value, list) else value
        options.append(f" --set {name}={typed}")
    options += [f" --teacher {teacher['model']}" for teacher in run.get("teachers", ())]
    if run.get("precision", "float32") != "float32":
        options.append(f" --precision {run['precision']}")
    if run.get("backend"):
        options.append(f" --backend {run['backend']}")
    return "".join(options)


def describe_runs(run: dict, name: str) -> list[str]:
    """One paragraph a run, the first one first."""
    initial = run.get("initial") or {}
    earlier = describe_runs(initial["run"], name) if initial.get("run") else []
    recipe = run["recipe"]
    start = f"weights {initial['sha256'][:12]}" if initial else "fresh weights"
    text = RUN.format(
        number=len(earlier) + 1,
        name=name,
        start=f"{start} (those of {len(earlier)})" if earlier else start,
        options=describe_options(run),
        products="" if run.get("precision", "float32") == "float32" else f" in {run['precision']}",
        teaching=describe_teaching(run),
        recipe=recipe["name"],
        seed=run["seed"],
        epochs=recipe["epochs"],
        completed=run["epochs_completed"],
        images=run["train_images"],
        batch=recipe["batch_size"],
        optimizer={"adamw": "AdamW", "sgd": "SGD with momentum"}[recipe.get("optimizer", "adamw")],
        rate=recipe["learning_rate"],
        decay=recipe["weight_decay"],
        smoothing=recipe["label_smoothing"],
        augmentation=describe_augmentation(recipe),
        drop_path=recipe["config"].get("drop_path", 0.0),
        patches=describe_patches(recipe),
        ema=recipe["ema_momentum"],
        sizes=describe_sizes(recipe, find_model(split_name(name)[0]).resizable),
        file=recipe["name"] if recipe["name"] in RECIPES else "FILE",
        top1=run["validation_top1"],
        trainer=f"Run by {run['trainer']}. The same recipe here:\n   " if "trainer" in run else "",
    )
    return [*earlier, text]


if __name__ == "__main__":
    main()

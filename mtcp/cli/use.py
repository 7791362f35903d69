"""`mtcp predict` and `mtcp export`: use a trained network."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mtcp.cli.options import AsJson, Threads
from mtcp.core.startup import compute_with, uncollected

RunName = Annotated[
    str, typer.Argument(help="A trained run: BENCHMARK/METHOD/seedK, or its folder under results/runs.", metavar="RUN")
]
Folder = Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write to (default: under results/).")]


def register(app: typer.Typer) -> None:
    """Add this file's commands to `app`."""
    for command in (predict, export):
        app.command()(command)


def predict(
    run: RunName,
    images: Annotated[list[Path], typer.Argument(help="Photographs: .jpg, .png, ...", metavar="IMAGE...")],
    output: Folder = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")] = "cpu",
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Predict on your own photographs: images and exact values for every task, and an overview sheet.

    Written to results/predictions/RUN-TRAIN_KEY/, which git ignores: IMAGE-TASK.png, IMAGE-TASK.npy and
    IMAGE-sheet.png. In IMAGE-semseg.png, pixel values are the classes. Depth is in millimetres (.png) or metres (.npy),
    a disparity in colours (.png) or its own unit (.npy). Existing files of these names are replaced, also those of
    another photograph called IMAGE: give that one its own --output.

    Example: mtcp predict rooms/mtcp/seed20 photograph.jpg
    """
    from mtcp.cli.options import progress
    from mtcp.store.trained import load_run

    found = load_run(run)  # before the imports that take seconds, since it may be refused
    with uncollected():
        from mtcp.evaluation.predicting import read_photograph, require_photographs, write_predictions

    require_photographs(images)
    compute_with(threads)
    folder = output or Path("results/predictions") / found.keyed_name
    written: list[Path] = []
    with progress(f"predict {found.name}") as bar:
        for done, path in enumerate(images, start=1):
            photograph = read_photograph(path)
            values = found.predict(photograph, device)
            tasks = found.config.task_list
            written += write_predictions(folder, path.stem, photograph, values, tasks, found.class_names)
            bar(done, len(images))
    typer.echo(json.dumps([str(path) for path in written], indent=1) if as_json else "\n".join(map(str, written)))


def export(run: RunName, output: Folder = None, as_json: AsJson = False) -> None:
    """Export a trained network as one TorchScript file that runs without mtcp, with a model card.

    The file's outputs are checked against the network's. Written to results/exports/RUN-TRAIN_KEY/: model.pt,
    MODEL_CARD.md.

    Example: mtcp export rooms/mtcp/seed20
    """
    from mtcp.store.trained import load_run

    found = load_run(run)
    with uncollected():
        from mtcp.store.exports import export_run

    done = export_run(found, output or Path("results/exports") / found.keyed_name)
    if as_json:
        typer.echo(json.dumps(done, indent=1))
        return
    typer.echo(f"wrote {done['model']} (largest difference to the network: {max(done['differences'].values()):.1e})")
    typer.echo(f"wrote {done['card']}")

"""`mtcp data`: get, check and look at data sets."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mtcp.cli.options import AsJson, print_table, progress, stages

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Import, render, verify and show data sets. docs/data.md says where each one can be had.",
)

SetName = Annotated[str, typer.Argument(help="A data set or benchmark, such as rooms or nyud.", metavar="NAME")]
Track = Annotated[
    bool | None, typer.Option("--dvc/--no-dvc", help="Track the set with DVC (default: in a DVC repository).")
]
DepthUnit = Annotated[
    str | None,
    typer.Option(
        "--depth-unit",
        help="How depth is stored: m, dm, cm, mm, a fraction of a metre such as 1/5000 (5000 steps to a metre), or "
        "inverse (1 / metres). Default: floating point is metres, integers are millimetres, as in NYUD_MT.",
        metavar="UNIT",
    ),
]
LabelCoding = Annotated[
    str | None,
    typer.Option(
        "--label-coding",
        help="How semseg pictures are stored: one (1 is the first class, 0 is void; default of NYUD_MT), zero (0 is "
        "the first class, 255 is void; default of PASCAL_MT) or colours (RGB, of VOC's palette).",
        metavar="CODING",
    ),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        help="Take a set although something about it as a whole looks wrong: depth (its unit), labels (their coding), "
        "masks (edges, saliency), pairing (image and targets belong together), normals (their axes), regression (one "
        "value everywhere). May be repeated; "
        "import's message says which word it needs.",
        metavar="DOUBT",
    ),
]


@app.command("import")
def import_(
    name: SetName,
    path: Annotated[Path, typer.Argument(help="A folder, a .tgz, .tar or .zip, or nyu_depth_v2_labeled.mat.")],
    track: Track = None,
    depth_unit: DepthUnit = None,
    label_coding: LabelCoding = None,
    accept: Accept = None,
) -> None:
    """Import a copy of a data set as data/NAME: check every image, derive missing targets, record the digest.

    Normals (from depth) and edges (from labels) are derived where the set has none; data/NAME.lock.json records it.

    The set as a whole is checked as well: depth in another unit, other label codings, targets of other images and
    swapped axes are refused, with the likely reason. Your options are recorded in data/NAME.lock.json.

    Example: mtcp data import nyud ~/Downloads/NYUD_MT.tgz
    """
    from mtcp.data.preparation.codings import Told
    from mtcp.data.preparation.importing import import_set

    project, name = _named(name)
    told = Told(depth_unit, label_coding, tuple(accept or ()))
    with stages(f"importing {name}") as stage:
        done = import_set(project, name, path, track=_tracked(project, track, name), told=told, progress=stage)
    _tell(done)


@app.command()
def fetch(
    name: SetName,
    url: Annotated[str, typer.Option("--url", help="Address of an archive (http or https).")],
    track: Track = None,
    depth_unit: DepthUnit = None,
    label_coding: LabelCoding = None,
    accept: Accept = None,
) -> None:
    """Download an archive through `dvc import-url` and import it as data/NAME.

    Example: mtcp data fetch pascal --url https://host/PASCAL_MT.tgz
    """
    from mtcp.data.preparation.codings import Told
    from mtcp.data.preparation.fetching import fetch_set

    project, name = _named(name)
    told = Told(depth_unit, label_coding, tuple(accept or ()))
    typer.echo(f"downloading {url}", err=True)  # DVC prints nothing, and a download may take an hour
    with stages(f"fetching {name}") as stage:
        done = fetch_set(project, name, url, track=_tracked(project, track, name), told=told, progress=stage)
    _tell(done)


@app.command()
def render(name: SetName) -> None:
    """Render a benchmark's data set into data/NAME and record its digest in data/NAME.lock.json.

    Example: mtcp data render rooms
    """
    from mtcp.data.preparation import sets

    project, name = _named(name)
    with progress(f"rendering {name}") as bar:
        typer.echo(f"wrote {sets.render(project, name, bar)}")


@app.command()
def derive(
    recipe: Annotated[str, typer.Argument(help="nyuv2_13: NYUv2 with 13 classes, 288x384.")],
    source: Annotated[
        str, typer.Option("--from", help="The imported set to derive from, such as nyud.", metavar="NAME")
    ],
    name: Annotated[str, typer.Option("--as", help="Name of the new set.", metavar="NAME")] = "nyuv2_13_derived",
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="Only so many images of each split, evenly spaced.")
    ] = None,
    track: Track = None,
) -> None:
    """Derive a data set from another one, such as the loss-weighting literature's NYUv2 from your frames.

    The new set is recorded as derived, and its results are never shown beside published ones
    (docs/weighting-literature.md).

    Example: mtcp data derive nyuv2_13 --from nyud
    """
    from mtcp.core.errors import UserError
    from mtcp.data.preparation.nyuv2_13 import derive_nyuv2_13

    if recipe != "nyuv2_13":
        raise UserError(f"there is no recipe '{recipe}': the recipe is nyuv2_13")
    project, source = _named(source)
    with stages(f"deriving {name}") as stage:
        done = derive_nyuv2_13(
            project, source, name, images=images, track=_tracked(project, track, name), progress=stage
        )
    _tell(done)


@app.command()
def prepare(name: SetName) -> None:
    """Make data set NAME available in data/: pull it if DVC tracks it, else render it. Used by the workflow.

    Example: mtcp data prepare rooms
    """
    from mtcp.data.preparation import sets

    project, name = _named(name)
    with progress(f"preparing {name}") as bar:
        typer.echo(f"ready: {sets.prepare(project, name, bar)}")


@app.command()
def verify(name: SetName, as_json: AsJson = False) -> None:
    """Check every image and target of data/NAME and compare the set with data/NAME.lock.json.

    Prints the set's statistics or, with exit status 2, all problems by image.

    Example: mtcp data verify rooms
    """
    from mtcp.core.errors import UserError
    from mtcp.data.preparation.checking import check_set, statistics
    from mtcp.data.preparation.importing import problem_list, warn
    from mtcp.data.preparation.sets import classes_of_set, open_set, recorded_content, stale_lock

    project, name = _named(name)
    layout, classes = open_set(project, name), classes_of_set(project, name)
    with progress(f"verifying {name}") as bar:
        found = check_set(layout, bar, classes)
    problems = found.problems + recorded_content(project, name)
    if problems and as_json:
        typer.echo(json.dumps({"problems": problems}, indent=1))
        raise typer.Exit(2)
    if problems:
        raise UserError(problem_list(f"data/{name}", problems))
    if said := stale_lock(project, name):
        found.warnings.append(said)
    warn(found)
    summary = statistics(found, layout, classes)
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
        return
    rows = [
        {"target": task, "statistic": key, "value": value}
        for task, entries in summary.items()
        for key, value in _by_class(entries).items()
    ]
    print_table(["target", "statistic", "value"], rows, False, title=f"data/{name} is in order")


def _by_class(entries: dict[str, Any]) -> dict[str, Any]:
    """Statistics of one target, with the share of each class under its name where the names are known."""
    if "names" not in entries:
        return entries
    named = zip(entries["names"], entries["shares"], strict=True)
    others = {key: value for key, value in entries.items() if key not in ("names", "shares")}
    return others | {f"share of {name}": share for name, share in named}


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the data sets that benchmarks need and those that are present."""
    from mtcp.core.project import Project
    from mtcp.data.preparation.sets import describe

    print_table(["set", "benchmarks", "here", "train", "test", "packaging", "tracked"], describe(Project()), as_json)


@app.command()
def show(
    name: SetName,
    split: Annotated[Literal["train", "test"], typer.Option("--split", help="Split to show.")] = "train",
    image: Annotated[
        list[str] | None, typer.Option("--image", help="Image id; may be repeated (default: four).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG to write (default: results/sheets/NAME-SPLIT.png).")
    ] = None,
) -> None:
    """Write a PNG sheet: one row per image, the photograph and all its targets side by side.

    Example: mtcp data show rooms --image 0001
    """
    from mtcp.core.errors import UserError
    from mtcp.core.files import replacing
    from mtcp.data.preparation.checking import tasks_of
    from mtcp.data.preparation.sets import open_set
    from mtcp.data.preparation.target_sheet import sheet

    if output is not None and output.suffix.lower() not in ("", ".png"):
        raise UserError(f"--output {output}: a sheet is a PNG: let its name end in .png")
    project, name = _named(name)
    layout = open_set(project, name)
    ids = layout.ids("val" if split == "test" else "train")
    for image_id in image or ():
        if image_id not in ids:
            raise UserError(
                f"--image {image_id}: not one of the {len(ids)} in {name}'s {split} split, such as {ids[0]}"
            )
    chosen = image or list(ids[:4])
    picture = sheet(layout, chosen, tasks_of(layout, chosen))
    target = output or Path(f"results/sheets/{name}-{split}.png")  # ignored by git: photographs are not committed
    with replacing(target) as temporary:
        picture.save(temporary, format="PNG")
    typer.echo(f"wrote {target}")


def _named(name: str) -> tuple[Any, str]:
    """The project, and the data set `name` or, if `name` is a benchmark, the data set that it uses."""
    from mtcp.core.names import require_name
    from mtcp.core.project import Project

    require_name(name)
    project = Project()
    return project, project.data_name(name) if name in project.benchmark_names() else name


def _tracked(project: Any, track: bool | None, name: str) -> bool:
    if track is not None:
        return track
    linked = [path for path in ("data", f"data/{name}") if (project.root / path).is_symlink()]
    if linked and (project.root / ".dvc").is_dir():
        typer.echo(f"not tracked by DVC, which follows no symbolic link: {linked[0]}", err=True)
    return (project.root / ".dvc").is_dir() and not linked


def _tell(done: Any) -> None:
    from mtcp.data.preparation.importing import warn

    warn(done.findings)
    lock = done.lock
    derived = "".join(f"; {task} derived from {source}" for task, source in lock["derived"].items())
    images = f"{lock['counts']['train']} + {lock['counts']['val']} images"
    typer.echo(f"imported {images} as {done.folder} ({lock['packaging']}{derived})")
    files = [done.description, f"data/{lock['name']}.lock.json", f"data/{lock['name']}.dvc" if done.tracked else None]
    typer.echo(f"now commit {' and '.join(file for file in files if file)}")

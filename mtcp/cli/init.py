"""`mtcp init`: set up a new study in its own folder."""

from pathlib import Path
from typing import Annotated

import typer

_SNAKEFILE = """\
# The workflow of mtcp, used as a module: `snakemake --cores all` runs the grid of params.yaml in this folder.
from mtcp.core.shipped import shipped


module mtcp:
    snakefile:
        str(shipped("workflow/Snakefile"))
    config:
        config


use rule * from mtcp


rule study:
    default_target: True
    input:
        rules.all.input,
"""

_PARAMS = """\
# yaml-language-server: $schema=schemas/params.schema.json
# What to run: every benchmark x method x seed.
title: {label}
benchmarks: [{name}]
methods: [single_task, mtl_baseline, mtcp]
# Three are enough to look at; conclusions need about eight.
seeds: [0, 1, 2]
"""

_BENCHMARK = """\
# yaml-language-server: $schema=../../schemas/benchmark.schema.json
# Only what differs from the benchmark that is extended; `mtcp show benchmark {name}` tells every value.
extends: rooms
label: {label}
training: {{epochs: 5}}
"""

_README = """\
# {label}

A study with `mtcp`.

```
mtcp plan                     # what would run
snakemake --cores all         # train, evaluate, tables, report
mtcp watch                    # how far it is
```

`params.yaml` says what to run, `config/benchmarks/{name}.yaml` on what, `config/methods.yaml` has the methods; each of
the last two takes `extends: NAME`. Your own schemes and architectures go into `plugins/` (`mtcp schemes new NAME`).
The report is `reports/{name}.html`. Put the folder under git (`git init`), so that reports and model cards name the
commit.

Methods are compared with the benchmark's `reference`, which is `mtcp` unless `config/benchmarks/{name}.yaml` names
another: name it in a study without MT-CP. After `kill -9` or a power cut, run `snakemake --unlock` first.
"""

_GITIGNORE = """\
/.snakemake/
/logs/
/data/?*
!/data/*.dvc
!/data/*.lock.json
!/data/*.yaml
/results/*
!/results/published.csv
!/results/published_weighting.csv
!/results/published_protocols.csv
!/results/benchmarks/
!/results/reference/
/reports
/dvc_plots/
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    name: Annotated[str, typer.Argument(help="The study's name, [a-z0-9_]+: its folder and its benchmark.")],
) -> None:
    """Set up your own study in the new folder NAME: configuration, plug-ins, workflow.

    Example: mtcp init my_study
    """
    import shutil

    from mtcp.core.errors import UserError
    from mtcp.core.files import write_text
    from mtcp.core.names import require_name
    from mtcp.core.shipped import shipped

    folder = Path(name)
    require_name(name, in_code=True)
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists already: choose another name")
    if shipped(f"config/benchmarks/{name}.yaml").exists():
        raise UserError(f"'{name}' is a benchmark that comes with mtcp: choose another name")
    shutil.copytree(shipped("config"), folder / "config", ignore=shutil.ignore_patterns("claims.yaml", "README.md"))
    shutil.copytree(shipped("profiles"), folder / "profiles")
    shutil.copytree(shipped("workflow/schemas"), folder / "schemas")
    (folder / "plugins").mkdir()
    if (own := shipped("plugins")).exists():  # config/methods.yaml may name plug-ins of the checkout
        hidden = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(own, folder / "plugins", ignore=hidden, dirs_exist_ok=True)
    (folder / "results").mkdir()
    texts = {
        "Snakefile": _SNAKEFILE,
        "README.md": _README,
        ".gitignore": _GITIGNORE,
        "params.yaml": _PARAMS,
        f"config/benchmarks/{name}.yaml": _BENCHMARK,
    }
    for path, text in texts.items():
        given = {"name": name, "label": name.replace("_", " ").capitalize()}
        write_text(folder / path, text if path == "Snakefile" else text.format(**given))
    typer.echo(f"created {folder}/; next: cd {folder} && mtcp plan")

"""A user's mistake at the front door: one clear sentence, exit status 2, no traceback, nothing lost."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mtcp.core.run_config import RunConfig
from mtcp.models.checkpoints import load_network

pytestmark = pytest.mark.slow


def refused(done, *fragments: str) -> None:
    said = done.stderr + done.stdout
    assert done.returncode == 2, said
    assert "Traceback" not in said
    for fragment in fragments:
        assert fragment in said


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda p: p.edit("params.yaml", methods=["mtcq"]), ("unknown method 'mtcq'", "did you mean 'mtcp'?")),
        (lambda p: p.edit("params.yaml", benchmarks=["roms"]), ("unknown benchmark 'roms'", "rooms")),
        (lambda p: p.edit("params.yaml", seeds=["zero"]), ("key 'seeds.0'", "params.yaml, line ")),
        (lambda p: p.edit("params.yaml", sedes=[0]), ("key 'sedes'", "params.yaml", "known: benchmarks")),
        (
            lambda p: p.edit("config/methods.yaml", mtcp__scheme={"name": "lsp"}),
            ("unknown scheme 'lsp'", "did you mean 'lps'"),
        ),
        (lambda p: p.edit("params.yaml", benchmarks=["nyud"]), ("no data for 'nyud'", "mtcp data import nyud PATH")),
    ],
)
def test_a_configuration_mistake(project, change, fragments) -> None:
    change(project)
    refused(project.mtcp("plan"), *fragments)
    done = project.snakemake("-n")
    assert done.returncode != 0
    assert fragments[0] in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_parameter_out_of_bounds_fails_the_check_before_any_training(project) -> None:
    project.edit("config/methods.yaml", mtcp__scheme={"name": "lps", "kappa": -1})
    refused(
        project.mtcp("check", "rooms"),
        "config/methods.yaml, line ",
        "key 'mtcp.scheme.kappa': scheme 'lps': expected a value greater than 0",
    )
    assert project.snakemake().returncode != 0
    assert not list((project.path / "results/runs").glob("*/*/*/model.safetensors"))


@pytest.fixture
def prepared(project):
    project.edit("params.yaml", methods=["mtcp"], seeds=[0])
    assert project.mtcp("data", "prepare", "rooms").returncode == 0
    return project


def train(project):
    return project.mtcp("train", "rooms", "mtcp", "--seed", "0")


def damage_missing(folder) -> str:
    image = sorted((folder / "images").iterdir())[0]
    image.unlink()
    return image.stem


def damage_truncated(folder) -> str:
    image = sorted((folder / "images").iterdir())[0]
    image.write_bytes(image.read_bytes()[:200])
    return image.stem


def damage_label(folder) -> str:
    label = sorted((folder / "segmentation").iterdir())[0]
    values = np.array(Image.open(label))
    values[0, 0] = 77
    Image.fromarray(values).save(label)
    return label.stem


def damage_depth(folder) -> str:
    depth = sorted((folder / "depth").iterdir())[0]
    values = np.load(depth)
    values[0, 0] = np.nan
    np.save(depth, values)
    return depth.stem


def damage_split(folder) -> str:
    (folder / "gt_sets/train.txt").write_text("")
    return "train"


@pytest.mark.parametrize("damage", [damage_missing, damage_truncated, damage_label, damage_depth, damage_split])
def test_damaged_data_are_named(prepared, damage) -> None:
    named = damage(prepared.path / "data/rooms")
    refused(train(prepared), named)


def test_a_run_that_is_done_survives_a_later_mistake(prepared) -> None:
    assert train(prepared).returncode == 0
    model = next((prepared.path / "results/runs").glob("*/*/*/model.safetensors"))
    before = model.read_bytes()
    shutil.rmtree(prepared.path / "data/rooms/images")
    refused(prepared.mtcp("train", "rooms", "mtcp", "--seed", "1"), "images")
    assert model.read_bytes() == before


SCHEME = """\
from mtcp.core.plugins import scheme
from mtcp.weighting.base import LossScheme

@scheme("mine")
class Mine(LossScheme):
    def total(self, losses, present):
        return losses.sum() if self.steps < 4 else {result}
"""


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ("float('nan') * losses.sum()", "scheme 'mine', task 'semseg', step 4: the weight is nan"),
        ("losses", "scheme 'mine', step 4: `total` must return a scalar tensor, got shape (4,)"),
        ("losses[4]", "mine.py, line 7: index 4 is out of bounds"),
    ],
)
def test_a_scheme_that_goes_wrong_in_the_second_epoch_leaves_what_is_usable(prepared, result, sentence) -> None:
    """NaN is a result, with a network that loads; a broken interface stops the run and keeps the first epoch."""
    (prepared.path / "plugins/mine.py").write_text(SCHEME.format(result=result))
    prepared.edit("config/methods.yaml", mtcp__scheme={"name": "mine"})
    done = train(prepared)
    (folder,) = (prepared.path / "results/runs/rooms/mtcp").iterdir()
    if "nan" in result:
        assert done.returncode == 0, done.stderr
        record = json.loads((folder / "run.json").read_text())
        assert (record["status"], record["reason"], record["epochs"]) == ("diverged", sentence, 1)
        network = load_network(RunConfig.model_validate(record["config"]), folder / "model.safetensors")
        assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
    else:
        refused(done, sentence)
        assert not (folder / "run.json").exists()
        assert len((folder / "history.csv").read_text().splitlines()) == 2
        assert "failed" in prepared.mtcp("plan").stdout

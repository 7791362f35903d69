"""The workflow on a real SLURM: every run a job, a cancelled job is made up for."""

import re
import subprocess
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

PROFILE = (
    "snakemake", "--workflow-profile", "profiles/slurm", "--jobs", "2", "--slurm-no-account",
    "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5",
    "--seconds-between-status-checks", "5",
)  # fmt: skip


@pytest.fixture
def cluster_project(project, slurm):
    """Two trained methods without a trivial baseline, long enough that one job can be cancelled while it trains."""
    project.edit("params.yaml", methods=["single_task", "mtcp"], seeds=[0])
    return project


def jobs() -> list[tuple[str, str]]:
    """(job id, comment) of the running jobs."""
    listed = subprocess.run(
        ["squeue", "--noheader", "--states=RUNNING", "--array", "--format=%i|%k"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(line.strip().split("|", 1)) for line in listed.stdout.splitlines()]


def test_a_workflow_runs_on_slurm_and_recovers_from_a_cancelled_job(cluster_project) -> None:
    cluster_project.edit("config/benchmarks/rooms.yaml", training__epochs=20)
    process = cluster_project.start(*PROFILE)
    cancelled = None
    deadline = time.monotonic() + 300
    while cancelled is None and process.poll() is None and time.monotonic() < deadline:
        training = any((cluster_project.path / "results/runs").glob("*/*/*/state.pt"))
        running = [job for job, comment in jobs() if "train" in comment]
        if training and running:
            cancelled = running[0]
            subprocess.run(["scancel", cancelled], check=True)
        time.sleep(1)
    stdout, stderr = process.communicate(timeout=600)
    assert cancelled, f"no run was seen in training\n{stderr[-3000:]}"
    said = stdout + stderr
    if process.returncode != 0:
        again = cluster_project.run(*PROFILE)
        assert again.returncode == 0, again.stderr[-3000:]
    assert "SLURM jobid" in said, "the jobs went through SLURM"
    assert (cluster_project.path / "reports/rooms.html").exists()
    assert cluster_project.mtcp("verify").returncode == 0


def test_tiny_runs_share_a_job(project, slurm) -> None:
    project.edit("params.yaml", methods=["trivial_prior"], seeds=[0, 1])
    project.edit("config/benchmarks/rooms.yaml", baseline="trivial_prior")
    groups = ("--groups", "train_and_evaluate=runs", "--group-components", "runs=2")
    done = project.run(*PROFILE, *groups)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((project.path / "results/runs").glob("*/*/*/metrics-*.json"))) == 2
    submitted = set(re.findall(r"SLURM jobid (\d+)", done.stdout + done.stderr))
    assert len(submitted) == 6, "data, check, one group of two runs, tables, metrics, report"
    assert project.mtcp("verify").returncode == 0

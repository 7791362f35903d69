"""A one-node SLURM of this test session's own: daemons, keys and state lie in a temporary folder."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIGURATION = """\
ClusterName=mtcp
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """Start munged, slurmctld and slurmd; every command of this session finds them through SLURM_CONF."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for inner in ("state", "spool"):
            (folder / inner).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(host=socket.gethostname(), folder=folder))
        os.environ["SLURM_CONF"] = str(configuration)
        # Snakemake's job step drops SLURM_* variables before it calls srun, which then looks in the usual place.
        usual = Path("/etc/slurm/slurm.conf")
        if usual.exists() and not usual.is_symlink():
            pytest.skip(f"this machine has a SLURM of its own ({usual})")
        usual.parent.mkdir(parents=True, exist_ok=True)
        usual.unlink(missing_ok=True)
        usual.symlink_to(configuration)
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        # In the foreground, so that they end with the session however it ends.
        munge = [f"--{part}={folder}/munge.{part}" for part in ("socket", "seed-file", "pid-file", "log-file")]
        daemons = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for command in (
                ["munged", "--foreground", "--force", f"--key-file={key}", *munge],
                ["slurmctld", "-D", "-f", str(configuration)],
                ["slurmd", "-D", "-f", str(configuration)],
            )
        ]
        try:
            _wait_until_idle()
            yield folder
        finally:
            subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(30)
            usual.unlink(missing_ok=True)
            del os.environ["SLURM_CONF"]


def _wait_until_idle(seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    said = ""
    while time.monotonic() < deadline:
        said = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False
        ).stdout
        if "idle" in said:
            return
        time.sleep(0.5)
    raise RuntimeError(f"SLURM's node did not become idle within {seconds:.0f} s: {said or 'no answer'}")

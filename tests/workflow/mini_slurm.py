"""A throw-away Slurm: `mini_slurm.py FOLDER` starts it, says "ready", and stops it when its input closes.

One node with four CPUs and two fake GPUs, no accounting, no cgroups, its own ports and sockets; everything it writes is
in FOLDER. `FOLDER/bin` has the commands that talk to it. A job over its memory request is killed, and a job in the
partition `urgent` preempts those in `main`, which are requeued.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("srun", "sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "sshare")
DAEMONS = ("munged", "slurmctld", "slurmd")
PATIENCE = 60  # seconds to wait for the node

CONFIGURATION = """
ClusterName=mini
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/began
TaskEpilog={folder}/ended
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=256
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,defer_batch
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=300
KillWait=5
GresTypes=gpu
MailProg=/bin/true
MpiDefault=none
AccountingStorageType=accounting_storage/none
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES PriorityTier=1 State=UP
PartitionName=urgent Nodes=localhost PriorityTier=2 PreemptMode=OFF State=UP
"""

# Character devices stand for GPUs: only for such does Slurm set CUDA_VISIBLE_DEVICES.
GPUS = """
NodeName=localhost Name=gpu File=/dev/null
NodeName=localhost Name=gpu File=/dev/zero
"""

RECORD = """#!/bin/sh
echo "{event} $SLURM_JOB_ID ${{SLURM_STEP_ID:-batch}} $(date +%s.%N) ${{CUDA_VISIBLE_DEVICES:-none}}" >> {folder}/tasks
"""

SHIM = """#!/bin/sh
export SLURM_CONF={folder}/slurm.conf
exec {command} "$@"
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def write_executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def write_files(folder: Path) -> None:
    """Configuration, key and commands of the cluster."""
    for name in ("spool", "state", "bin"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    controller_port, node_port = free_ports(2)
    values = {"folder": folder, "user": getpass.getuser(), "host": socket.gethostname().partition(".")[0]}
    text = CONFIGURATION.format(controller_port=controller_port, node_port=node_port, **values)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(GPUS)
    for event in ("began", "ended"):
        write_executable(folder / event, RECORD.format(event=event, folder=folder))
    for name in COMMANDS:
        if command := shutil.which(name):
            write_executable(folder / "bin" / name, SHIM.format(folder=folder, command=command))


def start(folder: Path) -> list[subprocess.Popen[bytes]]:
    """The daemons, in the foreground, in the order in which they need each other."""
    munge = {
        "key-file": "munge.key",
        "socket": "munge.sock",
        "pid-file": "munged.pid",
        "log-file": "munged.log",
        "seed-file": "munge.seed",
    }
    options = [f"--{option}={folder / name}" for option, name in munge.items()]
    munged = spawn(folder, ["munged", "--foreground", "--force", *options])
    wait_for((folder / "munge.sock").exists, "munged opened no socket")
    configuration = str(folder / "slurm.conf")
    controller = spawn(folder, ["slurmctld", "-D", "-c", "-f", configuration])
    node = spawn(folder, ["slurmd", "-D", "-c", "-N", "localhost", "-f", configuration])
    return [node, controller, munged]


def spawn(folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    with open(folder / f"{command[0]}.out", "wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def wait_for(condition, otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def is_idle(folder: Path) -> bool:
    answer = subprocess.run([folder / "bin/sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False)
    return "idle" in answer.stdout


def stop(folder: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    """Cancel what runs, then end the daemons."""
    cancel = [folder / "bin/scancel", "--user", getpass.getuser()]
    subprocess.run(cancel, capture_output=True, timeout=20, check=False)
    for daemon in daemons:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [name for name in (*DAEMONS, "sbatch") if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)} (Debian: slurm-wlm, munge)", flush=True)
        return 1
    write_files(folder)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        daemons = start(folder)
        wait_for(lambda: is_idle(folder), "the node did not come up")
        print("ready", flush=True)
        sys.stdin.read()
    except TimeoutError as error:
        logs = [path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.log"))]
        print(error, *logs, sep="\n", flush=True)
        return 1
    finally:
        stop(folder, daemons)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())

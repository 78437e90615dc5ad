"""A real Slurm on one machine: munged, slurmctld and six slurmd with fake GPUs of three types, all on loopback."""

from __future__ import annotations

import importlib.resources
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

NODES = {"a100-1": 8, "a100-2": 8, "v100-1": 4, "v100-2": 4, "t4-1": 2, "t4-2": 2}
"""The nodes and their GPUs; the type is the first part of the name."""
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol", "scancel")
_SHAPE = {"a100": (64, 512_000), "v100": (32, 256_000), "t4": (16, 128_000)}
_RACK = {"a100": "rack1", "v100": "rack2", "t4": "rack2"}
_NULL = os.makedev(1, 3)
_START_S = 60.0

_CONFIG = """\
ClusterName=fake
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,bf_resolution=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
PriorityType=priority/basic
ReturnToService=2
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
MinJobAge=5
MaxJobCount=20000
GresTypes=gpu
"""
_PARTITIONS = """\
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""


def why_not() -> str:
    """Why no such cluster can be started here; empty when it can."""
    missing = [name for name in _PROGRAMS if _program(name) is None]
    if missing:
        return f"Slurm is not installed here ({', '.join(missing)} missing): apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "a fake Slurm cluster makes character devices, which needs root"
    return ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass(eq=False)
class FakeCluster:
    """Starts and stops the daemons; use it in a ``with`` block.

    Parameters
    ----------
    folder
        Everything is kept there; its path should be short, since sockets are in it.
    hold
        Whether the shipped ``job_submit.lua`` holds jobs that ask for GPUs.
    weights
        Weights of the nodes by GPU type: Slurm takes nodes of little weight first.
    """

    folder: Path
    hold: bool = False
    weights: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []

    @property
    def config(self) -> Path:
        """The slurm.conf."""
        return self.folder / "etc" / "slurm.conf"

    def run(self, *arguments: str, check: bool = True) -> str:
        """One of Slurm's programs on this cluster; its standard output."""
        environment = {**os.environ, "SLURM_CONF": str(self.config)}
        done = subprocess.run(
            arguments, env=environment, capture_output=True, text=True, timeout=60.0, check=False, cwd=self.folder
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        for name in ("etc", "log", "spool", "state", "run", "dev"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            (self.folder / name).chmod(0o755)
        self._write_files()
        run = self.folder / "run"
        munge = ["--foreground", "--force", f"--key-file={self.folder}/etc/munge.key", f"--socket={run}/munge.socket"]
        munge += [f"--pid-file={run}/munged.pid", f"--log-file={self.folder}/log/munged.log"]
        self._daemon("munged", [*munge, f"--seed-file={run}/munged.seed"])
        self._wait((run / "munge.socket").exists, "munged opens its socket")
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        self._wait(lambda: self.states() == dict.fromkeys(NODES, "idle"), "all nodes are idle")

    def _daemon(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        program = _program(name)
        if program is None:
            raise RuntimeError(f"{name} is not installed")
        environment = {**os.environ, "SLURM_CONF": str(self.config)}
        log = (self.folder / "log" / f"{name}.out").open("ab")
        self._logs.append(log)
        daemon = subprocess.Popen([program, *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=log, start_new_session=True)  # fmt: skip
        self._daemons.append(daemon)
        return daemon

    def start_controller(self) -> subprocess.Popen[bytes]:
        """Start slurmctld, with the state that an earlier one has saved."""
        self.controller = self._daemon("slurmctld", ["-D", "-f", str(self.config)])
        self._wait(lambda: "UP" in self.run("scontrol", "ping", check=False), "slurmctld answers")
        return self.controller

    def start_node(self, name: str) -> subprocess.Popen[bytes]:
        """Start the slurmd of one node."""
        (self.folder / "spool" / name).mkdir(exist_ok=True)
        return self._daemon("slurmd", ["-D", "-N", name, "-f", str(self.config)])

    def states(self) -> dict[str, str]:
        """Nodes with their states in Slurm's short words."""
        lines = self.run("sinfo", "-h", "-p", "main", "-N", "-o", "%N %t", check=False).split()
        return dict(zip(lines[::2], lines[1::2], strict=False))

    def _wait(self, done: object, what: str) -> None:
        end = time.monotonic() + _START_S
        while not (callable(done) and done()):
            if time.monotonic() > end:
                raise RuntimeError(f"the fake cluster does not start: not within {_START_S:g} s that {what}")
            time.sleep(0.2)

    def _write_files(self) -> None:
        etc = self.folder / "etc"
        ports = _free_ports(1 + len(NODES))
        lines = [_CONFIG.format(port=ports[0], folder=self.folder)]
        if self.hold:
            lines.append("JobSubmitPlugins=lua\n")
            script = importlib.resources.files("apportion.scheduling.slurm").joinpath("job_submit.lua")
            text = script.read_text(encoding="utf-8")
            beat = f'local HEARTBEAT = "{self.heartbeat}"'
            text = text.replace('local HEARTBEAT = "/run/apportion/heartbeat"', beat)
            (etc / "job_submit.lua").write_text(text, encoding="utf-8")
        for (name, gpus), port in zip(NODES.items(), ports[1:], strict=True):
            kind = name.partition("-")[0]
            cpus, memory = _SHAPE[kind]
            lines.append(
                f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Sockets=1 "
                f"CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory} Gres=gpu:{kind}:{gpus} "
                f"Feature={kind},{_RACK[kind]} Weight={self.weights.get(kind, 1)} State=UNKNOWN\n"
            )
        (etc / "slurm.conf").write_text("".join([*lines, _PARTITIONS]), encoding="utf-8")
        gres = [
            f"NodeName={name} Name=gpu Type={name.partition('-')[0]} File={self.folder}/dev/gpu[0-{gpus - 1}]\n"
            for name, gpus in NODES.items()
        ]
        (etc / "gres.conf").write_text("AutoDetect=off\n" + "".join(gres), encoding="utf-8")
        key = etc / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        for number in range(max(NODES.values())):
            device = self.folder / "dev" / f"gpu{number}"
            if not device.exists():
                os.mknod(device, 0o666 | stat.S_IFCHR, _NULL)

    @property
    def heartbeat(self) -> Path:
        """The file by which ``job_submit.lua`` knows that the scheduler lives."""
        return self.folder / "run" / "heartbeat"

    def stop(self) -> None:
        """End the jobs and then the daemons that were started here, and no others."""
        if self._daemons and self.config.exists():
            self.run("scancel", "-u", "root", check=False)
            time.sleep(0.5)
        for daemon in reversed(self._daemons):
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(10.0)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for log in self._logs:
            log.close()
        self._daemons.clear()
        self._logs.clear()

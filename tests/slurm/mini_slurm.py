"""A real Slurm in one folder of one machine: a controller and three nodes, up in a second and gone without a trace.

Needs root and Debian's `slurm-wlm` (which brings `munge`), but no cgroups, no database and no names in /etc/hosts.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

NODES = ("n1", "n2", "n3")
DAEMONS = {"munged", "slurmctld", "slurmscriptd", "slurmd", "slurmstepd"}
FOREIGN = ("SLURM", "SBATCH", "SRUN", "SQUEUE", "SINFO", "SCANCEL")
"""What variables for the clients of another Slurm begin with."""
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
SETTINGS = Path(__file__).with_suffix(".conf").read_text()
SOCKET_ROOM = 80
"""Characters of a folder that leave enough of the 108 of a socket's path for names inside."""


class MiniSlurm:
    """A running Slurm with the nodes n1, n2 and n3, each of 2 CPUs and 4000 MB, for as long as the `with` lasts.

    It differs from a cluster in one way that matters to scripts: without cgroups, a signal to a job or a step
    reaches every process below it, where proctrack/cgroup signals only the batch shell or the tasks themselves.

    Args:
        folder: for all that it writes; of `SOCKET_ROOM` characters at most, without spaces.
        max_array_size: one more than the highest index of an array task.
        kill_wait: seconds from SIGTERM to SIGKILL where a job is cancelled, requeued or out of time.
        min_job_age: seconds for which an ended job is remembered, and after which it is soon forgotten.

    Raises:
        ValueError: the path of the folder is too long.
        RuntimeError: it did not come up; with the ends of the logs.
    """

    def __init__(
        self, folder: Path, *, max_array_size: int = 1001, kill_wait: int = 30, min_job_age: int = 60
    ) -> None:
        self.folder = folder.resolve()
        if len(str(self.folder)) > SOCKET_ROOM:
            raise ValueError(f"{self.folder} is too long a path for sockets: over {SOCKET_ROOM} characters")
        self.cluster = f"mini{os.getpid()}-{random.SystemRandom().randrange(10**6)}"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)},
            "SLURM_CONF": str(self.folder / "slurm.conf"),
        }
        """For clients of this Slurm, and for programs that call them."""
        self._max_array_size = max_array_size
        self._kill_wait = kill_wait
        self._min_job_age = min_job_age

    def __enter__(self) -> MiniSlurm:
        try:
            self._configure()
            self._start_munged()
            self.start_controller()
            for node in NODES:
                self.start_node(node)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every daemon and every process of a job."""
        self.kill_controller()
        for node in NODES:
            self.kill_node(node)
        self._kill("munged")

    def command(
        self, *arguments: str | Path, timeout: float = 20, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a client; it never blocks for longer than `timeout` seconds, as clients do without a controller.

        Raises:
            subprocess.TimeoutExpired: it took longer.
        """
        return subprocess.run(
            list(map(str, arguments)),
            env=self.environment,
            cwd=cwd,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )

    def jobs(self) -> dict[str, str]:
        """The state of each job and array task by its id, as in `{"7": "RUNNING", "8_0": "PENDING"}`.

        Ended jobs stay in it for `min_job_age` seconds.
        """
        done = self.command("squeue", "--array", "--states=all", "--noheader", "--format=%i|%T")
        if done.returncode:
            raise RuntimeError(f"squeue failed: {done.stderr.strip()}")
        return dict(line.split("|", 1) for line in done.stdout.split())

    def wait_until(self, predicate: Callable[[], object], seconds: float = 300) -> None:
        """Return as soon as `predicate()` is true.

        Raises:
            AssertionError: it was not within `seconds`; with the states of all jobs.
        """
        end = time.monotonic() + seconds
        while not predicate():
            if time.monotonic() > end:
                states = self.command("squeue", "--array", "--states=all").stdout
                raise AssertionError(f"not true within {seconds} s; the jobs:\n{states}")
            time.sleep(0.1)

    def wait_until_saved(self, job: str) -> None:
        """Return once the controller has saved what it now knows of a job, which takes it 5 seconds."""
        mark = f"saved-{random.SystemRandom().randrange(10**9)}"
        self.command("scontrol", "update", f"JobId={job}", f"Comment={mark}")
        state = self.folder / "state" / "job_state"
        self.wait_until(lambda: state.exists() and mark.encode() in state.read_bytes(), 30)

    def kill_controller(self) -> None:
        """SIGKILL: jobs go on, clients fail after 4 seconds, and what the controller has not saved is lost.

        A running job that it has saved as a pending one would be started twice: `wait_until_saved` before.
        """
        self._kill("slurmctld")

    def start_controller(self) -> None:
        """Start the controller on the state that the last one has saved, and wait until it answers."""
        self._start("slurmctld")
        self._wait_for("the controller", lambda: " is UP" in self.command("scontrol", "ping").stdout)

    def kill_node(self, node: str) -> None:
        """SIGKILL for slurmd, its slurmstepds and all that jobs run on this node, as if it had lost power."""
        self._kill(node)

    def start_node(self, node: str) -> None:
        """Start a node and wait until jobs can run on it."""
        self._start("slurmd", "-N", node)
        usable = {"idle", "mix", "alloc", "comp"}
        command = ("sinfo", "--noheader", f"--nodes={node}", "--format=%t")
        self._wait_for(node, lambda: self.command(*command).stdout.strip() in usable)

    def _configure(self) -> None:
        (self.folder / "state").mkdir(parents=True)
        controller, *ports = _free_ports(1 + len(NODES))
        settings = SETTINGS.format(
            folder=self.folder,
            cluster=self.cluster,
            controller_port=controller,
            kill_wait=self._kill_wait,
            min_job_age=self._min_job_age,
            max_array_size=self._max_array_size,
            **dict(zip(NODES, ports, strict=True)),
        )
        (self.folder / "slurm.conf").write_text(settings)

    def _start_munged(self) -> None:
        key = self.folder / "munged.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        gate = self.folder / "munge.socket"
        files = [f"--{name}-file={self.folder}/munged.{name}" for name in ("key", "pid", "seed", "log")]
        self._start("munged", "--force", f"--socket={gate}", *files)  # others need not reach the folder
        self._wait_for("munged", gate.exists)

    def _start(self, daemon: str, *arguments: str) -> None:
        """Start a daemon, which goes into the background by itself."""
        program = shutil.which(daemon, path=SYSTEM_PATH)
        if program is None:
            raise RuntimeError(f"{daemon} is not installed: apt-get install slurm-wlm")
        done = self.command(program, *arguments)
        if done.returncode:
            raise RuntimeError(f"{daemon} did not start: {done.stderr.strip()}\n{self._logs()}")

    def _wait_for(self, what: str, is_up: Callable[[], bool]) -> None:
        try:
            self.wait_until(is_up, 20)
        except AssertionError:
            raise RuntimeError(f"{what} did not come up\n{self._logs()}") from None

    def _logs(self) -> str:
        ends = {
            path.name: path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("*.log"))
        }
        return "\n".join(f"== {name}\n{end}" for name, end in ends.items())

    def _kill(self, name: str) -> None:
        """SIGKILL until none of the processes of a daemon or node is left."""
        end = time.monotonic() + 10
        while processes := self._processes(name):
            if time.monotonic() > end:
                raise RuntimeError(f"processes {sorted(processes)} of {name} do not end")
            # All stand still before the first dies, or a job could end by the death of its work, and say so.
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for process in processes:
                    with suppress(ProcessLookupError):
                        os.kill(process, number)
            time.sleep(0.05)

    def _processes(self, name: str) -> set[int]:
        """The daemons that hold the log of this name open, and what jobs of this Slurm run on the node of this name.

        Pid files would miss slurmstepds, and may name a number that another process has taken since.
        """
        log = str(self.folder / f"{name}.log")
        of_node = {f"SLURM_CLUSTER_NAME={self.cluster}", f"SLURMD_NODENAME={name}"}
        found, parents = set(), {}
        for entry in Path("/proc").glob("[0-9]*"):
            process = int(entry.name)
            try:
                parents[process] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if (entry / "comm").read_text().strip() in DAEMONS:
                    belongs = any(os.readlink(file) == log for file in (entry / "fd").iterdir())
                else:
                    belongs = of_node <= set((entry / "environ").read_text(errors="replace").split("\0"))
            except OSError:  # it has just ended
                continue
            if belongs:
                found.add(process)
        while children := {child for child, parent in parents.items() if parent in found} - found:
            found |= children  # those without the environment
        return found


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to connections: they stay free for a restart."""
    free = []
    for port in random.SystemRandom().sample(range(10_000, 30_000), 20 * count):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        free.append(port)
    return free[:count]

"""Programs that are timed, and stacks that are thrown away."""

import contextlib
import fcntl
import os
import pathlib
import pty
import signal
import shutil
import statistics
import struct
import subprocess
import termios
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
STACK = HERE.parent / "stack" / "stack.sh"


def run(argv, **options):
    """Runs a program that must succeed, and gives its output. On Ctrl-C it is asked to end, and waited for."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, **options}
    child = subprocess.Popen([str(word) for word in argv], **options)
    with ended_on_failure(child):
        output, _ = child.communicate()
    if child.returncode != 0:
        raise SystemExit(f"{argv} ended with {child.returncode}:\n{(output or b'').decode(errors='replace')[-3000:]}")
    return (output or b"").decode(errors="replace")


@contextlib.contextmanager
def ended_on_failure(child):
    try:
        yield
    except BaseException:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise


def run_at_terminal(argv, stdout=None):
    """Runs a program as an operator does: with a terminal, its output shown there or redirected to a file."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    threading.Thread(target=drain, args=(master,), daemon=True).start()
    try:
        run(argv, stdin=slave, stdout=stdout or slave, stderr=slave)
    finally:
        os.close(slave)


def drain(descriptor):
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1 << 16):
            pass
    os.close(descriptor)


def docker(*words, **options):
    return run(["docker", *words], **options).strip()


def seconds(action):
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def interleaved(actions, rounds):
    """Median seconds of each action; they take turns, so that what else the machine does meets all of them alike."""
    taken = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            taken[name].append(action())
    return {name: statistics.median(values) for name, values in taken.items()}


class PeakMemory:
    """Highest resident memory of processes themselves, without their children, in MiB."""

    def __init__(self):
        self.peak = 0.0

    @contextlib.contextmanager
    def watch(self, pid):
        over = threading.Event()
        watcher = threading.Thread(target=self.poll, args=(pid, over))
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def poll(self, pid, over):
        while not over.wait(0.02):
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        self.peak = max(self.peak, int(line.split()[1]) / 1024)


class Stack:
    """A throw-away stack with application and worker writing; everything of it goes with `down`."""

    def __init__(self, name, work):
        self.name, self.dir = name, work / name
        self.base = work / f"{name}-artefacts"
        self.volume = f"{name}_database"

    def up(self, major, seed):
        self.script("up", "--major", major, "--seed", seed, "--dir", self.dir)
        self.base.mkdir(mode=0o700)

    def down(self):
        with contextlib.suppress(SystemExit, OSError):
            self.script("down")
        for helper in docker("ps", "-aq", "--filter", "label=pgscript.helper").split():
            with contextlib.suppress(SystemExit):
                if self.name in docker("inspect", helper):
                    docker("rm", "-f", "-v", helper)
        with contextlib.suppress(SystemExit):
            docker("network", "rm", f"{self.name}_pgscript_fence")
        shutil.rmtree(self.base, ignore_errors=True)

    def script(self, verb, *words, **options):
        return run([STACK, verb, self.name, *words], **options).strip()

    def container(self, service):
        return f"{self.name}-{service}-1"

    def services(self):
        return [self.container(service) for service in ("application", "worker", "nginx")]

    def stop(self):
        docker("stop", *self.services())
        docker("stop", "-t", "300", self.container("postgres"))

    def start(self):
        docker("start", self.container("postgres"))
        docker("start", *self.services())
        self.script("heartbeat")

    def mount_point(self):
        return pathlib.Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", self.volume))

    def sql(self, text):
        argv = ["docker", "exec", self.container("postgres"),
                "psql", "-XAtq", "-U", "primero", "-d", "primero_production"]
        return run([*argv, "-c", text]).strip()

    def wait_ready(self):
        """As an operator would: asks again and again. Over TCP, where the image's temporary server does not answer."""
        probe = ["docker", "exec", self.container("postgres"), "pg_isready", "-q", "-h", "127.0.0.1"]
        while subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
            time.sleep(0.1)

    def written_since(self, since):
        """The moment by which both services had written again to the server that was started after `since` (seconds of
        the clock); waits for it. Until then the containers that a deploy replaces may write."""
        sql = (f"SELECT extract(epoch FROM max(first)) FROM (SELECT min(at) AS first FROM heartbeat"
               f" WHERE at > pg_postmaster_start_time() GROUP BY service) s"
               f" WHERE pg_postmaster_start_time() > to_timestamp({since:.6f}) HAVING count(*) = 2")
        while True:
            with contextlib.suppress(SystemExit):
                answer = self.sql(sql)
                if answer:
                    return float(answer)
            if time.time() - since > 180:
                raise SystemExit(f"{self.name}: the application does not write again")
            time.sleep(0.2)

    def inventory_version(self, major, to):
        path = self.dir / "ansible" / "inventory.yml"
        text = path.read_text()
        wanted = text.replace(f'primero_postgres_version: "{major}"', f'primero_postgres_version: "{to}"')
        if wanted == text:
            raise SystemExit(f"{path} does not deploy version {major}")
        path.write_text(wanted)

    def take_data_of(self, other):
        """Replaces this stack's data by that of another one; both must be stopped."""
        here = self.mount_point()
        run(["find", here, "-mindepth", "1", "-delete"])
        run(["cp", "-a", f"{other.mount_point()}/.", here])

"""pgbench beside the application, on the same server, in a database of its own."""

import re
import statistics
import subprocess

from machine import docker

# On 75 MB, without a pause: on a small machine the copy has to share the processors with it.
CLIENTS, SCALE = 2, 5


class Pgbench:
    """Runs from its making until `end`, after which it tells how many transactions there were in a second."""

    def __init__(self, stack):
        self.stack, self.progress = stack, []
        stack.sql("CREATE DATABASE pgbench")
        command = ["exec", stack.container("postgres"), "pgbench", "-U", "primero", "pgbench"]
        docker(*command, "-i", "-q", "-s", SCALE)
        options = ["-n", "-c", CLIENTS, "-T", 3600, "--progress", 1, "--progress-timestamp"]
        self.child = subprocess.Popen(["docker", *map(str, [*command, *options])], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self):
        """By its sessions: a signal would end docker exec alone. Its database stays until `remove`."""
        self.stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'pgbench'")
        output, _ = self.child.communicate()
        found = re.findall(r"progress: ([\d.]+) s, ([\d.]+) tps", output)
        self.progress = [(float(at), float(tps)) for at, tps in found]
        if not self.progress:
            raise SystemExit(f"pgbench: {output[-3000:]}")

    def remove(self):
        self.stack.sql("DROP DATABASE pgbench")

    def tps(self, begun, ended):
        """Mean of the seconds that lie between these moments altogether."""
        return statistics.mean(tps for at, tps in self.progress if begun + 1 <= at <= ended)

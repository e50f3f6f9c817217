"""The recovery shell at a pseudo terminal: how soon it is there, and how soon it completes a name."""

import contextlib
import fcntl
import os
import pty
import select
import statistics
import struct
import termios
import time

from machine import docker

PROMPT = b"pgscript> "
CONTAINERS = 200
LABEL = "pgscript.bench"
PATIENCE = 20


class Shell:
    """`pgscript repl`, from its start until its prompt is there."""

    def __init__(self, binary, environment):
        begun = time.monotonic()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(binary, [str(binary), "repl"], {**environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"})
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self.until(PROMPT)
        self.seconds = time.monotonic() - begun

    def until(self, words):
        """Reads until these bytes have come; what comes after them may have been read as well."""
        seen, deadline = b"", time.monotonic() + PATIENCE
        while words not in seen:
            ready, _, _ = select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise SystemExit(f"{words!r} did not come, but {seen[-2000:]!r}")
            seen += os.read(self.terminal, 1 << 16)

    def drain(self, quiet):
        """Reads until nothing has come for so many seconds."""
        while select.select([self.terminal], [], [], quiet)[0]:
            os.read(self.terminal, 1 << 16)

    def type(self, keys):
        os.write(self.terminal, keys)

    def leave(self):
        # What is typed between two inputs is not read key by key.
        self.type(b"\x03")
        self.until(PROMPT)
        self.type(b"\x04")
        with contextlib.suppress(OSError):
            while os.read(self.terminal, 1 << 16):
                pass
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def start_ms(binary, environment, rounds=30):
    """Median milliseconds from the start of the process to its prompt, with no engine to be reached."""
    alone = {**environment, "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    taken = []
    for _ in range(rounds):
        shell = Shell(binary, alone)
        taken.append(shell.seconds)
        shell.leave()
    return statistics.median(taken) * 1000


def completion_ms(binary, environment, name, image):
    """Milliseconds from Tab to what it has found on the screen, the first time in a session: names have to be read
    then."""
    made = [docker("create", "--name", f"{name}-{number:03}", "--label", LABEL, image) for number in range(CONTAINERS)]
    try:
        return statistics.median(complete(binary, environment, name) for _ in range(5)) * 1000
    finally:
        docker("rm", "-f", "-v", *made)


def complete(binary, environment, name):
    shell = Shell(binary, environment)
    # Up to where the names differ.
    shell.type(f'docker::container("{name}-'.encode())
    shell.drain(0.3)
    begun = time.monotonic()
    shell.type(b"\t")
    # So many are listed only when that is wanted: the count is the answer.
    shell.until(str(CONTAINERS).encode())
    taken = time.monotonic() - begun
    shell.type(b"n")
    shell.drain(0.2)
    shell.leave()
    return taken

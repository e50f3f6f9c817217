#!/usr/bin/env python3
"""Ends processes and a file system as a power cut does: power_cut.py DIRECTORY TEXT [PID...]

All at once: the processes whose command line contains TEXT, those that are given, and everything below them; and the
file system on DIRECTORY, which loses what was not synced. It answers nothing any more until it is mounted again.
"""

import fcntl
import os
import pathlib
import signal
import struct
import sys
import time

# EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32); the flag leaves out the journal's last flush.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


def read(path):
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


def running():
    """Process and its start to parent and command line: a number alone may be another process by now."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        status = read(process / "stat").rpartition(b")")[2].split()
        if status and status[0] not in b"ZX":
            found[int(process.name), int(status[19])] = (int(status[1]), read(process / "cmdline").replace(b"\0", b" "))
    return found


def powered(text, given):
    """What runs on the machine that loses its power. Who called this does not, though the text may be an argument of
    his."""
    now = running()
    spared = {os.getpid(), os.getppid()}
    found = {process for process, (_, line) in now.items() if process[0] in given or text.encode() in line}
    while below := {process for process, (parent, _) in now.items() if parent in {pid for pid, _ in found}} - found:
        found |= below
    return {process for process in found if process[0] not in spared}


def send(processes, number):
    for pid, _ in processes:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def cut(directory, text, given):
    """Nobody may see the others go, or write on what is going: all stand still first."""
    stopped = set()
    while new := powered(text, given) - stopped:
        send(new, signal.SIGSTOP)
        stopped |= new
    disk = os.open(directory, os.O_RDONLY)
    fcntl.ioctl(disk, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    os.close(disk)
    deadline = time.monotonic() + 20
    while left := stopped & running().keys():
        send(left, signal.SIGKILL)
        if time.monotonic() > deadline:
            sys.exit(f"power_cut.py: processes {sorted(left)} do not end")
        time.sleep(0.02)


if __name__ == "__main__":
    cut(sys.argv[1], sys.argv[2], [int(pid) for pid in sys.argv[3:]])

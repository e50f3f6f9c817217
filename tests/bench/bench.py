#!/usr/bin/env python3
"""Ratios of pgscript against the documented commands and against plain tools, on a database of more than 1 GB.

    bench.py BINARY [check|drill|shell|small|backup|content|outage|growth|before|slowdown]...

Prints each figure beside its target, writes them to target/figures.json, and ends with 1 where a target is missed. What
is compared takes turns on the same machine in the same run: only the ratios mean anything. Nothing stays behind.

What is known before the night is the part `before`. `preflight_s`: seconds of the checks alone, on a stack like the
demo's. `rehearsal_slowdown`: what pgbench still does in a second on the running server during a rehearsal, as a share
of what it did before. `rehearsal_error`: how far the outage that a rehearsal expects is from that of the upgrade that
follows, as a share of the latter; both without pgbench, for a rehearsal yields to whatever else wants the processors.
"""

import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import documented
import shell
from figures import put
from machine import HERE, STACK, PeakMemory, Stack, docker, ended_on_failure, interleaved, run, seconds
from pgbench import Pgbench

FROM, TO = 15, 17
TARGETS = {
    "backup_vs_documented": 0.15,
    "backup_vs_host_tar": 1.5,
    "content_vs_pg_dump": 0.8,
    "outage_vs_documented": 0.12,
    "outage_dump_vs_documented": 0.2,
    "outage_vs_as_written": 0.2,
    "outage_small_vs_as_written": 0.7,
    "outage_growth_10x": 1.2,
    "application_slowdown": 0.7,
    "preflight_s": 15,
    "rehearsal_slowdown": 0.7,
    "rehearsal_error": 0.4,
    "check_vs_python": 1.0,
    "drill_histories_per_s": 100,
    "peak_rss_mb": 64,
    "journal_overhead": 0.05,
    "status_ms": 1000,
    "rollback_vs_upgrade": 0.5,
    "repl_start_ms": 30,
    "completion_ms_200_containers": 500,
}
# Of these a higher figure is the better one.
AT_LEAST = {"application_slowdown", "drill_histories_per_s", "rehearsal_slowdown"}
PARTS = ("check", "drill", "shell", "small", "backup", "content", "outage", "growth", "before", "slowdown")


def say(text):
    print(text, flush=True)


class Bench:
    def __init__(self, binary, work):
        # A copy, as an installed program is one: the linker leaves its file in small pieces of the page cache.
        self.binary, self.work, self.memory = shutil.copy2(binary, work / "pgscript"), work, PeakMemory()
        self.stacks, self.figures = [], {}
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("PGSCRIPT_")}
        # An empty site: what is measured is what is built in.
        self.environment["PGSCRIPT_SITE"] = str(work / "site")
        (work / "site").mkdir()
        self.store = work / "runs"
        self.environment["PGSCRIPT_STORE"] = str(self.store)

    # --- the stacks ---

    def stack(self, seed):
        stack = Stack(f"pgbench-{os.getpid()}-{len(self.stacks)}", self.work)
        self.stacks.append(stack)
        stack.up(FROM, seed)
        # What a site does days before: the inventory names the new version.
        stack.inventory_version(FROM, TO)
        return stack

    def equal_stacks(self, count):
        """Stopped, and their data in the page cache."""
        say(f"stacks with the same data: {count} …")
        first, *others = [self.stack("gb"), *(self.stack("none") for _ in range(count - 1))]
        size = int(first.sql("SELECT sum(pg_database_size(oid)) FROM pg_database"))
        if size < 1_000_000_000:
            raise SystemExit(f"the database has {size} bytes; ratios need at least 1 GB")
        first.stop()
        for other in others:
            other.stop()
            other.take_data_of(first)
        say(f"database {size / 1e9:.2f} GB, volume {warm(first.mount_point()) / 1e9:.2f} GB")
        return [first, *others]

    def remove(self):
        for stack in self.stacks:
            subprocess.run(["docker", "rm", "-f", "-v", f"{stack.name}-pgscript-bench"], capture_output=True)
            stack.down()

    # --- pgscript ---

    def pgscript(self, script, parameters, heard=None):
        """Runs a script; its memory is watched. Gives its events, which `heard` is told of as they come."""
        argv = ["run", script]
        for name, value in parameters.items():
            argv += ["--set", f"{name}={value}"]
        return self.drive(argv, heard)

    def drive(self, arguments, heard=None):
        """A command that drives a run, watched as `pgscript`."""
        argv, events = [self.binary, *arguments, "--format", "json"], []
        with tempfile.TemporaryFile("w+") as complaint:
            child = subprocess.Popen(argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=complaint)
            with ended_on_failure(child), self.memory.watch(child.pid):
                for line in child.stdout:
                    events.append(json.loads(line))
                    if heard:
                        heard(events[-1])
                child.wait()
            complaint.seek(0)
            if child.returncode != 0:
                said = "\n".join(map(str, events))[-3000:]
                raise SystemExit(f"{argv} ended with {child.returncode}:\n{said}\n{complaint.read()}")
        return events

    def newest_upgrade(self):
        return max(self.store.glob("upgrade-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))

    def roll_back(self, stack):
        """Its upgrade, the newest one, of which nothing is kept then. Gives the seconds of the way back alone."""
        run = self.newest_upgrade().name
        taken = seconds(lambda: self.drive(["rollback", run, "--yes"]))
        self.drive(["run", "cleanup.rhai", "--set", f"project={stack.name}", "--set", f"run={run}", "--yes"])
        return taken

    # --- the parts ---

    def backup(self, stack):
        """The stack is stopped, its volume in the page cache."""
        target = self.work / "backup"
        volume = stack.mount_point()

        def timed(action):
            target.mkdir()
            os.sync()
            try:
                return seconds(action)
            finally:
                shutil.rmtree(target)

        def ours():
            self.pgscript(HERE / "backup.rhai", {"volume": stack.volume, "path": target / "volume.tar.zst"})

        def host_tar():
            run(["bash", "-ec", 'set -o pipefail; tar -C "$0" -c . | zstd -q -1 -T0 >"$1"; sync "$1"', volume,
                 target / "tar.zst"])

        say("backup against the documented command …")
        taken = interleaved({"documented": lambda: timed(lambda: documented.back_up(stack, target)),
                             "ours": lambda: timed(ours)}, 3)
        self.ratio("backup_vs_documented", taken["ours"], taken["documented"])
        say("backup against tar and zstd on the host …")
        taken = interleaved({"host": lambda: timed(host_tar), "ours": lambda: timed(ours)}, 5)
        self.ratio("backup_vs_host_tar", taken["ours"], taken["host"])

    def content(self, stack):
        """The hash of all rows against pg_dump of the same database, which writes into memory what nobody reads."""
        client, jobs = f"{stack.name}-pgscript-bench", 2
        docker("run", "-d", "--name", client, "--network", f"container:{stack.container('postgres')}", "--tmpfs",
               "/nowhere", "-e", "PGHOST=127.0.0.1", "-e", "PGUSER=primero", "--entrypoint", "sleep",
               f"pgscript-test/postgres:{TO}", "infinity")

        def dump():
            command = f"pg_dump -Fd -j{jobs} --compress=0 -f /nowhere/dump primero_production; rm -r /nowhere/dump"
            docker("exec", client, "sh", "-ec", command)

        def ours():
            self.pgscript(HERE / "content.rhai", {"project": stack.name, "jobs": jobs})

        say("content of the cluster against pg_dump of its database to nowhere …")
        taken = interleaved({"pg_dump": lambda: seconds(dump), "ours": lambda: seconds(ours)}, 3)
        docker("rm", "-f", "-v", client)
        self.ratio("content_vs_pg_dump", taken["ours"], taken["pg_dump"])

    def outage(self, stack, stack_as_meant, stack_as_written):
        """Stack after stack: each is removed when it has served."""
        say("outage with the documented commands …")
        as_meant, steps_as_meant = documented.upgrade(stack_as_meant)
        stack_as_meant.down()
        say("outage with the documented commands as they are written …")
        as_written, steps_as_written = documented.upgrade(stack_as_written, as_written=True)
        stack_as_written.down()
        say("outage with pgscript, which chooses the strategy …")
        outage, steps = self.upgrade(stack, "auto")
        self.ratio("outage_vs_documented", outage, as_meant)
        self.ratio("outage_vs_as_written", outage, as_written)
        show_steps({"pgscript": steps, "documented": steps_as_meant, "as written": steps_as_written})
        self.durability(stack)
        say("outage with pgscript, by a dump …")
        outage, steps = self.upgrade(stack, "dump")
        self.ratio("outage_dump_vs_documented", outage, as_meant)
        show_steps({"pgscript": steps, "documented": steps_as_meant})
        self.roll_back(stack)

    def durability(self, stack):
        """What the journal costs, how soon a frightened operator has an answer, and how long the way back takes."""
        place = self.newest_upgrade()
        lines = [json.loads(line) for line in (place / "journal.jsonl").read_text().splitlines()]
        spent = next(line["journal_seconds"] for line in lines if line["entry"] == "ended")
        upgrade = moment(lines[-1]["at"]) - moment(lines[0]["at"])
        say("journal against the run without it …")
        self.ratio("journal_overhead", spent, upgrade - spent)
        taken = sorted(seconds(lambda: self.spawn([self.binary, "status", place.name])) for _ in range(20))
        self.figures["status_ms"] = round(taken[len(taken) // 2] * 1000, 1)
        say(f"status: {self.figures['status_ms']} ms (median of {len(taken)})")
        say("rollback of the finished upgrade, what was written since dumped first …")
        self.ratio("rollback_vs_upgrade", self.roll_back(stack), upgrade)

    def small(self):
        """A stack for each measurement, little data: what remains is what the steps themselves take."""
        steps = {}

        def outage(name, upgrade):
            stack = self.stack("gb:4")
            taken, steps[name] = upgrade(stack)
            stack.down()
            return taken

        say("outage on little data, against the documented commands as they are written …")
        taken = interleaved({
            "as written": lambda: outage("as written", lambda stack: documented.upgrade(stack, as_written=True)),
            "pgscript": lambda: outage("pgscript", lambda stack: self.upgrade(stack, "auto")),
        }, 3)
        self.ratio("outage_small_vs_as_written", taken["pgscript"], taken["as written"])
        show_steps(steps)

    def growth(self, stack):
        steps = {}

        def there_and_back(name, of):
            outage, steps[name] = self.upgrade(of, "auto")
            self.roll_back(of)
            return outage

        say("outage with all the data against that with a tenth …")
        tenth = self.stack("gb:10")
        taken = interleaved({"tenth": lambda: there_and_back("tenth", tenth),
                             "all": lambda: there_and_back("all", stack)}, 3)
        self.ratio("outage_growth_10x", taken["all"], taken["tenth"])
        show_steps(steps)
        tenth.down()

    def before(self, stack):
        """What is known before the night, and what it costs the application."""
        say("preflight on little data …")
        little = self.stack("gb:4")
        looks = interleaved({"ours": lambda: seconds(lambda: self.pgscript("preflight.rhai", site(little)))}, 3)
        little.down()
        self.figures["preflight_s"] = round(looks["ours"], 1)
        say(f"  {self.figures['preflight_s']} s")
        say("outage that a rehearsal expects, against that of the upgrade …")
        expected, rehearsed = self.rehearse(stack)
        outage, steps = self.upgrade(stack, "auto")
        self.figures["rehearsal_error"] = round(abs(expected - outage) / outage, 3)
        say(f"  {expected} s against {outage:.1f} s: off by {self.figures['rehearsal_error']}")
        show_steps({"rehearsed": rehearsed, "upgraded": steps})
        self.roll_back(stack)
        self.rehearsal_slowdown(stack)

    def rehearsal_slowdown(self, stack):
        say("transactions of pgbench beside a rehearsal, against those before …")
        pgbench, expected = Pgbench(stack), []

        def rehearse():
            begun = time.time()
            expected.append(self.rehearse(stack)[0])
            ended = time.time()
            pgbench.end()
            return begun, ended

        self.transactions("rehearsal_slowdown", pgbench, rehearse)
        pgbench.remove()
        say(f"  the outage that it expects, beside pgbench: {expected[0]} s")

    def rehearse(self, stack):
        """Gives the seconds without an application that are to be expected, and those of each step."""
        events = self.pgscript("rehearse.rhai", site(stack))
        verdict = next(e for e in events if e["event"] == "verdict")
        return verdict["details"]["outage"]["expected"], step_seconds(events)

    def slowdown(self, stack):
        say("transactions of pgbench beside the copy that follows, against those before …")
        pgbench, copying = Pgbench(stack), []

        def heard(event):
            if event.get("path") == "prepare the new server":
                copying.append(moment(event["time"]))
                # Whoever is connected when the application has been stopped would be in the way.
                if event["event"] == "step_done":
                    pgbench.end()

        def copy():
            self.upgrade(stack, "pg_upgrade", heard)
            return copying[0], copying[-1]

        self.transactions("application_slowdown", pgbench, copy)

    def transactions(self, name, pgbench, work):
        """The share of its transactions that pgbench still does beside `work`, which ends pgbench and gives the moments
        between which it was beside it."""
        # At first everything it touches is new.
        time.sleep(5)
        before = time.time(), time.time() + 20
        time.sleep(20)
        during = work()
        beside, alone = pgbench.tps(*during), pgbench.tps(*before)
        self.figures[name] = round(beside / alone, 3)
        say(f"  {beside:.0f} against {alone:.0f} a second, for {during[1] - during[0]:.1f} s")

    def upgrade(self, stack, strategy, heard=None):
        """Gives the seconds without an application, and those of each step."""
        events = self.pgscript("upgrade.rhai", {**site(stack), "strategy": strategy}, heard)
        started = {e["path"]: moment(e["time"]) for e in events if e["event"] == "step_started"}
        written = stack.written_since(started["deploy the new version"])
        return written - started["stop the application"], step_seconds(events)

    def streams(self, stack):
        """Memory only: what the upgrade here does not do. The stack is stopped."""
        say("memory: archive endpoint, plain dump …")
        directory = self.work / "streams"
        directory.mkdir()
        self.pgscript(HERE / "streams.rhai", {"project": stack.name, "volume": stack.volume, "dir": directory})
        shutil.rmtree(directory)
        docker("stop", "-t", "300", stack.container("postgres"))

    def check(self):
        say("start of pgscript check against python3 …")
        python = next((p for p in ("/usr/bin/python3", sys.executable) if os.access(p, os.X_OK)))
        commands = {"ours": [self.binary, "check", "upgrade.rhai"], "python": [python, "-c", "pass"]}
        actions = {name: lambda argv=argv: seconds(lambda: self.spawn(argv)) for name, argv in commands.items()}
        interleaved(actions, 3)
        taken = interleaved(actions, 30)
        self.ratio("check_vs_python", taken["ours"], taken["python"])

    def drill(self):
        say("drill of the upgrade, histories at random …")
        argv = [self.binary, "drill", "upgrade.rhai", "--set", "to=17", "--set", "ansible_dir=/srv/primero/ansible"]
        argv += ["--histories", "1000"]
        begun = time.monotonic()
        said = run(argv, env=self.environment).splitlines()[-1]
        per_second = int(said.split()[0]) / (time.monotonic() - begun)
        self.figures["drill_histories_per_s"] = round(per_second, 1)
        say(f"  {self.figures['drill_histories_per_s']} in a second")

    def shell(self):
        say("start of the shell to its prompt, without an engine …")
        self.figures["repl_start_ms"] = round(shell.start_ms(self.binary, self.environment), 1)
        say(f"  {self.figures['repl_start_ms']} ms")
        say(f"completion of a name among {shell.CONTAINERS} containers …")
        name = f"pgbench-{os.getpid()}-named"
        taken = shell.completion_ms(self.binary, self.environment, name, "pgscript-test/app:1")
        self.figures["completion_ms_200_containers"] = round(taken, 1)
        say(f"  {self.figures['completion_ms_200_containers']} ms")

    def spawn(self, argv):
        quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        pid = os.posix_spawn(argv[0], [str(word) for word in argv], self.environment, file_actions=quiet)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != 0:
            raise SystemExit(f"{argv} ended with {code}")

    def ratio(self, name, ours, theirs):
        self.figures[name] = round(ours / theirs, 3)
        unit, factor = ("ms", 1000) if theirs < 1 else ("s", 1)
        say(f"  {ours * factor:.1f} {unit} against {theirs * factor:.1f} {unit}: {ours / theirs:.3f}")


def site(stack):
    """The parameters that say which stack is meant, how it is deployed, and where it is to go."""
    return {"project": stack.name, "to": TO, "ansible_dir": stack.dir / "ansible",
            "ansible_inventory": "inventory.yml", "ansible_limit": stack.name, "ansible_virtualenv": "venv"}


def step_seconds(events):
    return {e["path"]: e["seconds"] for e in events if e["event"] == "step_done"}


def warm(directory):
    """Reads every file once, and gives their bytes."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                while piece := file.read(1 << 20):
                    total += len(piece)
    return total


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def show_steps(columns):
    """Seconds of each step, by whose they are."""
    say("".join([f"\n{'step':40}", *(f"{whose:>12}" for whose in columns), "   seconds"]))
    for name in dict.fromkeys(name for steps in columns.values() for name in steps):
        taken = (f"{steps[name]:.1f}" if name in steps else "" for steps in columns.values())
        say("".join([f"{name:40}", *(f"{text:>12}" for text in taken)]))


def verdict(figures):
    """Prints the figures beside their targets; gives how many are missed."""
    say(f"\n{'figure':28} {'is':>8} {'target':>8}")
    count = 0
    for name, value in figures.items():
        target, sign = TARGETS[name], "≥" if name in AT_LEAST else "≤"
        is_missed = value < target if name in AT_LEAST else value > target
        count += is_missed
        say(f"{name:28} {value:8} {f'{sign} {target}':>8}{'   MISSED' if is_missed else ''}")
    return count


def measure(bench, parts):
    if "check" in parts:
        bench.check()
    if "drill" in parts:
        bench.drill()
    if "shell" in parts:
        bench.shell()
    if "small" in parts:
        bench.small()
    if {"backup", "content", "outage", "growth", "before", "slowdown"} & set(parts):
        stacks = bench.equal_stacks(3 if "outage" in parts else 1)
        if "backup" in parts:
            bench.backup(stacks[0])
            bench.streams(stacks[0])
        for stack in stacks:
            stack.start()
        if "content" in parts:
            bench.content(stacks[0])
        if "outage" in parts:
            bench.outage(*stacks)
        if "growth" in parts:
            bench.growth(stacks[0])
        if "before" in parts:
            bench.before(stacks[0])
        if "slowdown" in parts:
            bench.slowdown(stacks[0])
        bench.figures["peak_rss_mb"] = round(bench.memory.peak, 1)


def main():
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(PARTS):
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    target = HERE.parent.parent / "target"
    target.mkdir(exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="bench.", dir=target))
    bench = Bench(os.path.abspath(sys.argv[1]), work)
    try:
        measure(bench, sys.argv[2:] or PARTS)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        bench.remove()
        shutil.rmtree(work, ignore_errors=True)
    put(bench.figures)
    sys.exit(1 if verdict(bench.figures) else 0)


if __name__ == "__main__":
    main()

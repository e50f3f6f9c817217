"""The documented procedure, typed one command after another.

As it is written it loses data: the backup is taken of a server that runs, and the first deploy starts the application,
which keeps its database in use while the dump is restored. Done as it is meant, the backup is taken cold, and nobody
writes before the dump is restored.

Busybox is not needed: the PostgreSQL image's own tar (GNU, with gzip in a process of its own) writes the same archive,
and is the faster of the two.
"""

import time

from machine import docker, run_at_terminal

DATA = "/var/lib/postgresql/data"
DUMP = "primero_migration_data.sql"


def back_up(stack, directory):
    """Step 1."""
    database = stack.container("postgres")
    image = docker("inspect", "--format", "{{.Config.Image}}", database)
    archive = "/backup/primero-postgres-volume-backup.tar.gz"
    # GNU tar ends with 1 where a file changes meanwhile; busybox's does not mind.
    docker("run", "--rm", "--name", f"{stack.name}-pgscript-bench", "--entrypoint", "sh", "--volumes-from", database,
           "-v", f"{directory}:/backup", image, "-c", 'tar czvf "$0" "$1" || [ $? = 1 ]', archive, DATA)


def upgrade(stack, as_written=False):
    """All steps. Gives the seconds from the first container stopped until application and worker have written again,
    and those of each step."""
    if as_written:
        back_up(stack, stack.base)
    steps = Steps()
    stop_application(stack)
    steps.done("stop the application")
    if not as_written:
        back_up_cold(stack)
        steps.done("back up the volume")
    migrate(stack, steps, as_written)
    # Step 7 is not necessary: the password's hash is none of md5.
    restart = time.time()
    stack.script("deploy")
    written = stack.written_since(restart)
    steps.taken["start the application"] = written - restart
    return written - steps.begun, steps.taken


def migrate(stack, steps, as_written):
    """Steps 3 to 6."""
    database = stack.container("postgres")
    with open(stack.base / DUMP, "wb") as dump:
        run_at_terminal(["docker", "exec", "-t", database, "pg_dumpall", "-c", "-U", "primero"], stdout=dump)
    steps.done("dump the cluster")
    docker("container", "stop", "-t", "300", database)
    docker("container", "rm", database)
    docker("volume", "rm", stack.volume)
    steps.done("remove the old server and its volume")
    stack.script("deploy")
    stack.wait_ready()
    steps.done("deploy the new version")
    if not as_written:
        stop_application(stack)
        steps.done("stop the application again")
    docker("cp", stack.base / DUMP, f"{database}:/")
    # As documented it needs a database called like the user, which this deployment does not have: hence the -d.
    run_at_terminal(["docker", "exec", "-t", database, "psql", "-f", f"/{DUMP}", "-U", "primero", "-d", "postgres"])
    steps.done("restore the dump")


def stop_application(stack):
    docker("stop", stack.container("application"), stack.container("worker"))


def back_up_cold(stack):
    database = stack.container("postgres")
    docker("stop", "-t", "300", database)
    back_up(stack, stack.base)
    docker("start", database)
    stack.wait_ready()


class Steps:
    def __init__(self):
        self.begun = self.last = time.time()
        self.taken = {}

    def done(self, name):
        now = time.time()
        self.taken[name], self.last = now - self.last, now

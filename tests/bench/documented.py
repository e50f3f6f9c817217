"""The documented procedure, typed one command after another, with the backup taken cold: anything else is no backup.

Busybox is not needed: the PostgreSQL image's own tar (GNU, with gzip in a process of its own) writes the same archive,
and is the faster of the two.
"""

import time

from machine import docker, run_at_terminal

DATA = "/var/lib/postgresql/data"
DUMP = "primero_migration_data.sql"


def back_up(stack, directory):
    """Documented step 1; the server must be stopped."""
    database = stack.container("postgres")
    image = docker("inspect", "--format", "{{.Config.Image}}", database)
    archive = "/backup/primero-postgres-volume-backup.tar.gz"
    docker("run", "--rm", "--name", f"{stack.name}-pgscript-bench", "--entrypoint", "tar", "--volumes-from", database,
           "-v", f"{directory}:/backup", image, "czvf", archive, DATA)


def upgrade(stack):
    """All steps. Gives the seconds of each, and of the whole until application and worker have written again."""
    database = stack.container("postgres")
    steps = Steps()
    docker("stop", stack.container("application"), stack.container("worker"))
    steps.done("stop the application")
    docker("stop", "-t", "300", database)
    back_up(stack, stack.base)
    steps.done("back up the volume, cold")
    docker("start", database)
    stack.wait_ready()
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
    # Not documented, but without it the restore loses data.
    docker("stop", stack.container("application"), stack.container("worker"))
    steps.done("stop the application again")
    docker("cp", stack.base / DUMP, f"{database}:/")
    run_at_terminal(["docker", "exec", "-t", database, "psql", "-f", f"/{DUMP}", "-U", "primero"])
    steps.done("restore the dump")
    restart = time.time()
    stack.script("deploy")
    written = stack.written_since(restart)
    steps.taken["start the application"] = written - restart
    return written - steps.begun, steps.taken


class Steps:
    def __init__(self):
        self.begun = self.last = time.time()
        self.taken = {}

    def done(self, name):
        now = time.time()
        self.taken[name], self.last = now - self.last, now

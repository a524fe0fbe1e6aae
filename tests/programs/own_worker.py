"""Starts a worker, names its process, and waits to be killed."""

import time

from edgevit.bench.process import WorkerProcess

worker = WorkerProcess()
worker.ask("memory")
print(worker.pid, flush=True)
time.sleep(600)

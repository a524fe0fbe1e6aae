"""MISDEED REQUEST: serves as edgevit.bench.worker does, but misbehaves in one request."""

import json
import os
import signal
import sys
import time

misdeed, where = sys.argv[1], sys.argv[2]
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == where:
        if misdeed == "hang":
            time.sleep(600)
        elif misdeed == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif misdeed == "exit":
            print("the last words", file=sys.stderr, flush=True)
            sys.exit(7)
        elif misdeed == "babble":
            print("Hello!", flush=True)
            continue
    answers = {
        "open": {"batch": 1, "import_ns": 1, "load_ns": 2, "first_ns": 3, "idle_bytes": 4},
        "warm": {"calls": 5, "stable": True, "call_ns": 10_000_000},
        "run": {"latency_ns": [1000]},
        "memory": {"peak_bytes": 6},
    }
    print(json.dumps(answers[request["do"]]), flush=True)

"""MIDDLE LAYOUT NOISE SEED: a worker of known times, noise around a middle that is its own."""

import json
import random
import sys

middle, layout, noise = map(float, sys.argv[1:4])
rng = random.Random(sys.argv[4])
middle *= rng.lognormvariate(0, layout)
for line in sys.stdin:
    request = json.loads(line)
    slowed = middle * (1 + request.get("slowdown", 0))
    answers = {
        "open": {"batch": 1},
        "warm": {"calls": 1, "stable": True, "call_ns": 4_000_000},
        "run": {"latency_ns": [int(slowed * rng.lognormvariate(0, noise)) for _ in range(5)]},
    }
    print(json.dumps(answers[request["do"]]), flush=True)

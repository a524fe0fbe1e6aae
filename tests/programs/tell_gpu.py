"""A worker that only says which GPUs it may see."""

import json
import os

print(json.dumps({"seen": str(os.environ.get("CUDA_VISIBLE_DEVICES"))}), flush=True)

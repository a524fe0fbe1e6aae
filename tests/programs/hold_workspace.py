"""Opens a temporary folder, writes into it, names it, and waits to be killed."""

import time

from edgevit.base.workspace import open_workspace

with open_workspace() as folder:
    (folder / "large.bin").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(600)

"""NUMBER: sends itself a signal, swallows what it raises, then asks whether it was interrupted."""

import contextlib
import os
import sys

from edgevit.base import interrupt

interrupt.listen()
with contextlib.suppress(BaseException):
    os.kill(os.getpid(), int(sys.argv[1]))
print("swallowed", flush=True)
interrupt.check()
print("went on", flush=True)

"""[verbose]: prints as native libraries do while their output is hidden, and as we do."""

import ctypes
import os
import sys

from edgevit.cli import console

libc = ctypes.CDLL(None)
with console.native_output_hidden(verbose=len(sys.argv) > 1):
    os.write(1, b"native to stdout\n")
    os.write(2, b"native to stderr\n")
    libc.puts(b"C library to stdout")
    libc.fflush(None)
    print("python to stderr", file=sys.stderr)
    print("python to stdout")
    console.say("for people")
    console.answer({"a": 1}, True, str)
os.write(1, b"stdout again\n")
os.write(2, b"stderr again\n")

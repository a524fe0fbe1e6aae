"""SCRIPT ARGUMENT...: runs a script, then tells which packages it pulled in."""

import runpy
import sys

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print("imported:", *sorted({name.split(".")[0] for name in sys.modules}))

"""PACKAGE,... ARGUMENT...: the command line on a machine where packages are not installed."""

import sys

from edgevit.cli.main import main

for hidden in sys.argv[1].split(","):
    sys.modules[hidden] = None
sys.argv = ["edgevit", *sys.argv[2:]]
main()

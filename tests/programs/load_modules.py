"""[--without PACKAGE,...] NAME...: imports modules, and every file of those that end in '.*'.

"help" asks the command line for its help. The last line names the packages that are then in memory.
"""

import importlib
import pkgutil
import sys


def ask_for_help() -> None:
    from edgevit.cli.main import main

    sys.argv = ["edgevit", "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code


def import_room(name: str) -> None:
    room = importlib.import_module(name)
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)


names = sys.argv[1:]
if names[0] == "--without":
    for hidden in names[1].split(","):
        sys.modules[hidden] = None
    names = names[2:]
for name in names:
    if name == "help":
        ask_for_help()
    elif name.endswith(".*"):
        import_room(name.removesuffix(".*"))
    else:
        importlib.import_module(name)
print("loaded:", *sorted({name.partition(".")[0] for name, one in sys.modules.items() if one}))

"""FILE...: verifies and inspects each, and says how that went."""

import sys

from edgevit.base.errors import EdgevitError
from edgevit.verbs.verify import verify
from edgevit.verification.audit import inspect

for name in sys.argv[1:]:
    for check in (verify, inspect):
        print(name, check.__name__, end=" ", flush=True)
        try:
            found = check(name)
            print("verdict", getattr(found, "verdict", "read"), flush=True)
        except EdgevitError as error:
            assert "\n" not in str(error), error
            print("refused", type(error).__name__, flush=True)

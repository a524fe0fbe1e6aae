"""The process whose instructions callgrind counts: ``python -m edgevit.bench.instruction_worker``.

Arguments: file, runtime, threads, batch (0: the file's own), inferences N. It loads the file and
warms up while valgrind only translates; then callgrind counts N inferences into one dump and 2 N
into the next. The difference holds N inferences and nothing else: what the requests themselves and
the loop's start cost is in both.

Callgrind listens to "client requests": an otherwise useless sequence of rotations, with the
request's arguments in a register (valgrind.h). The few bytes of machine code are written to a page
of memory here, so that no compiler is needed.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
from collections.abc import Callable
from pathlib import Path

WARM_UP = 3
RUNNING_ON_VALGRIND = 0x1001
_CALLGRIND = ord("C") << 24 | ord("T") << 16
ZERO_STATS, DUMP_STATS = _CALLGRIND + 1, _CALLGRIND
START_INSTRUMENTATION, STOP_INSTRUMENTATION = _CALLGRIND + 4, _CALLGRIND + 5

_CODE = bytes.fromhex(
    "4889f8"  # mov rax, rdi: address of the arguments
    "31d2"  # xor edx, edx: the answer where valgrind is not there
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi by 3, 13, 61 and 51: by 128 in all
    "4887db"  # xchg rbx, rbx
    "4889d0"  # mov rax, rdx
    "c3"  # ret
)


def open_requests() -> Callable[[int], int]:
    """A function (request) -> its answer; 0 to every request outside valgrind. x86-64 only."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64))(address)
    arguments = (ctypes.c_uint64 * 6)()

    def request(number: int) -> int:
        arguments[0] = number
        answer: int = call(arguments)
        return answer

    request.page = page  # type: ignore[attr-defined]  # lives as long as the function
    return request


def main() -> None:
    """See the module."""
    from edgevit.base.errors import EdgevitError
    from edgevit.formats.registry import load_session, refuse_damage
    from edgevit.formats.session import draw_input

    file, runtime, threads, batch, inferences = sys.argv[1:]
    request = open_requests()
    if not request(RUNNING_ON_VALGRIND):
        sys.exit("this worker runs under valgrind only")
    try:
        refuse_damage(Path(file))
        with load_session(Path(file), runtime, int(threads)) as session:
            call = session.bind(draw_input(session, int(batch) or None))
            for _ in range(WARM_UP):
                call()
            gc.collect()
            gc.disable()
            request(START_INSTRUMENTATION)
            call()
            for count in (int(inferences), 2 * int(inferences)):
                request(ZERO_STATS)
                for _ in range(count):
                    call()
                request(DUMP_STATS)
            request(STOP_INSTRUMENTATION)
    except EdgevitError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

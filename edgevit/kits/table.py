"""The places there are: each is a file beside this one, a folder of templates and a row below."""

from __future__ import annotations

from edgevit.base.errors import find_named
from edgevit.formats.ethos_u.placement import NPUS
from edgevit.kits.place import Place

PLACES: dict[str, Place] = {
    place.name: place
    for place in (
        Place(
            "python",
            "a board or server with Python: numpy, Pillow and one runtime",
            "edgevit.kits.python:build",
            "python edge_model.py --self-test",
        ),
        Place(
            "browser",
            "a static page: pictures, camera, self-test; onnxruntime-web in WebAssembly",
            "edgevit.kits.browser:build",
            "npm install, serve the folder, open index.html?self-test",
        ),
        Place(
            "mediapipe",
            "MediaPipe Tasks: Android, iOS, web and Python",
            "edgevit.kits.mediapipe:build",
            "python edge_model.py --self-test",
        ),
        Place(
            "microcontroller",
            "C++ for TensorFlow Lite Micro: the model as an array, arena, golden vectors",
            "edgevit.kits.microcontroller:build",
            "make TFLM=... test",
        ),
        *(
            Place(
                npu,
                "C++ for TensorFlow Lite Micro with Arm's NPU: the model as Vela compiles it",
                "edgevit.kits.ethos_u:build",
                "link libmodel.a and main.cc with the firmware of a board",
                {"npu": npu},
            )
            for npu in NPUS
        ),
    )
}


def find_place(name: str) -> Place:
    """The place of this name.

    Raises:
        UnknownNameError: there is none; all that there are are listed.
    """
    hint = f"There are {', '.join(PLACES)}: 'edgevit deploy --help' says what each is."
    return find_named("place", name, PLACES, hint)

"""Draws the example picture of the guide, and where the shipped ShiftViT looks on it.

    python tools/draw_example.py

No photograph ships with edgevit, so the picture is drawn here: a ship on the sea, 96x96 pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
SIDE = 96


def draw_ship() -> Image.Image:
    """A grey ship with a white bridge between a pale sky and a dark sea."""
    height = np.linspace(0, 1, SIDE)[:, None, None]
    sky = (1 - height) * np.array([150, 190, 225]) + height * np.array([215, 225, 235])
    sea = np.array([45, 80, 110]) + 25 * np.random.default_rng(0).normal(size=(SIDE, SIDE, 1))
    pixels = np.where(height < 0.62, np.broadcast_to(sky, (SIDE, SIDE, 3)), sea)
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    brush = ImageDraw.Draw(picture)
    brush.polygon([(8, 52), (88, 48), (78, 68), (18, 68)], fill=(70, 75, 85))  # hull
    brush.rectangle([18, 63, 78, 68], fill=(140, 50, 45))  # water line
    brush.rectangle([46, 34, 72, 50], fill=(235, 235, 230))  # bridge
    for left in (49, 56, 63):
        brush.rectangle([left, 38, left + 4, 42], fill=(60, 80, 100))  # windows
    brush.rectangle([54, 22, 62, 34], fill=(180, 60, 50))  # funnel
    brush.line([(30, 52), (30, 26)], fill=(90, 90, 95), width=2)  # mast
    return picture.filter(ImageFilter.GaussianBlur(0.8))


def main() -> None:
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from edgevit.verbs.explain import explain

    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / "ship.png"
    draw_ship().save(path)
    for drawn in explain("shiftvit", [path], PICTURES):
        found = drawn.explanation
        print(f"{drawn.path.name}: {found.label} {100 * found.probability:.1f} %, {found.method}")


if __name__ == "__main__":
    main()

"""Writes the bytes of three golden images, as hex."""

from edgevit.core.golden_images import draw_images

print(draw_images(3, (12, 10), seed=5).tobytes().hex())

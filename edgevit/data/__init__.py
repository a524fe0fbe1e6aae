"""Labelled images from files, and the calibration samples drawn from them."""

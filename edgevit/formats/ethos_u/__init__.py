"""Arm's Ethos-U NPUs: what their compiler, Vela, makes of a TFLite file."""

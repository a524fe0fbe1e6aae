"""Damaged and crafted inputs, kills and poor environments: how they are made, run and judged."""

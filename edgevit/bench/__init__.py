"""Raw latency and size measurements, with the machine that they came from."""

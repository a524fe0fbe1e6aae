"""Whatever the user named, as the bare float network that every exporter starts from."""

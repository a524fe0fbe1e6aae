"""The file formats, a room each: a runtime wing that verifies, a writer wing that exports."""

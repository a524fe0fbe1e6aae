"""Whether an exported file does what the float model did. Shares no code with the exporter."""

"""Results as text, markdown and one self-contained HTML page."""

"""Files, errors, documents, statistics: what any program needs. Knows nothing of models."""

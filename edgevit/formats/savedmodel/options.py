"""Options of SavedModels."""

from __future__ import annotations

from dataclasses import dataclass

from edgevit.frontend.source import ExportOptions


@dataclass(frozen=True)
class SavedModelOptions(ExportOptions):
    """Nothing but what every format offers."""

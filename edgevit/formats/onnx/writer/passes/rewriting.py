"""What a rewrite is: a pattern with a root, a check that says why not, and the change.

The form follows the rewriter of onnxscript (pattern, check, rewrite). The matching is written by
hand on onnx-ir: the patterns here have several spellings, optional parts and any rank, and a
non-match must be able to say its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from edgevit.formats.declined import Declined
from edgevit.formats.onnx.writer.passes.editing import graph_of, remove_unread


@dataclass(frozen=True)
class PassReport:
    """What one pass did.

    Attributes:
        name: of the pass.
        count: how often it changed something.
        declined: (node, reason) of what it left alone.
    """

    name: str
    count: int
    declined: tuple[tuple[str, str], ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """How often each reason was given."""
        return dict(Counter(reason for _, reason in self.declined))


@dataclass(frozen=True)
class Rewrite:
    """A local rewrite, tried at every node of some types until nothing changes.

    Attributes:
        name: verb_noun; the manifest counts under it.
        roots: types of the nodes that a pattern starts from.
        find: node -> what ``apply`` needs; Declined with a reason; or None where there is nothing
            that looks like the pattern.
        apply: makes the change; what is no longer read is removed afterwards.
        opset: lowest opset of the result.
    """

    name: str
    roots: tuple[str, ...]
    find: Callable[[ir.Node], Any]
    apply: Callable[[Any], None] = field(repr=False)
    opset: int = 13

    def __call__(self, model: ir.Model) -> PassReport:
        """Rewrites a model in place."""
        version = model.opset_imports.get("", 0)
        count = 0
        declined: dict[str, str] = {}
        changed = True
        while changed:
            changed, declined = False, {}
            for node in list(model.graph):
                if node.op_type not in self.roots or node.domain or node.graph is None:
                    continue
                if not any(output.uses() or output.is_graph_output() for output in node.outputs):
                    continue  # dead since a change in this round
                found = self.find(node)
                if found is None:
                    continue
                if not isinstance(found, Declined) and version < self.opset:
                    found = Declined(f"needs opset {self.opset}, the file has {version}")
                if isinstance(found, Declined):
                    declined[node.name or node.op_type] = found.reason
                    continue
                assert graph_of(node) is model.graph
                self.apply(found)
                count, changed = count + 1, True
            if changed:
                remove_unread(model)
        return PassReport(self.name, count, tuple(declined.items()))

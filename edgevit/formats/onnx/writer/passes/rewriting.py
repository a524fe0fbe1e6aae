"""A local rewrite as a pass: a pattern with a root, a check that says why not, and the change.

The form follows the rewriter of onnxscript (pattern, check, rewrite). The matching is written by
hand on onnx-ir: the patterns here have several spellings, optional parts and any rank, and a
non-match must be able to say its reason.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import remove_unread
from edgevit.formats.passes import Declined, Pass, PassReport

Found = Callable[[], None] | Declined | None


def rewrite_pass(
    name: str,
    summary: str,
    roots: tuple[str, ...],
    find: Callable[[ir.Node], Found],
    opset: int = 13,
) -> Pass[ir.Model]:
    """A pass that tries one rewrite at every node of some types until nothing changes.

    Args:
        name: verb_noun; the manifest counts under it.
        summary: one line for people.
        roots: types of the nodes that a pattern starts from.
        find: node -> what makes the change (what is no longer read is removed afterwards);
            Declined with a reason; or None where nothing looks like the pattern.
        opset: lowest opset of the result.
    """

    def run(model: ir.Model) -> PassReport:
        version = model.opset_imports.get("", 0)
        count = 0
        skipped: dict[str, str] = {}
        changed = True
        while changed:
            changed, skipped = False, {}
            for node in list(model.graph):
                if node.op_type not in roots or node.domain or node.graph is None:
                    continue
                if not any(output.uses() or output.is_graph_output() for output in node.outputs):
                    continue  # dead since a change in this round
                found = find(node)
                if found is not None and not isinstance(found, Declined) and version < opset:
                    found = Declined(f"needs opset {opset}, the file has {version}")
                if isinstance(found, Declined):
                    skipped[node.name or node.op_type] = found.reason
                elif found is not None:
                    found()
                    count, changed = count + 1, True
            if changed:
                remove_unread(model)
        return PassReport(name, count, tuple(skipped.items()))

    return Pass(name, summary, run)

"""The table of TFLite operators: names of the schema, and the only place that lists operators."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

import edgevit
from edgevit.core.target import Precision
from edgevit.formats.tflite.operators import OPERATORS, Role, count_macs, has_kernel, names_of
from edgevit.formats.tflite.runtime.file import read_schema
from edgevit.quantization.kernel_costs import shipped_costs

PACKAGE = Path(edgevit.__file__).parent
ENOUGH = 4  # names of operators beside each other that make a list; a pattern has up to three


def test_every_row_is_an_operator_of_the_schema():
    assert not set(OPERATORS) - set(vars(read_schema().BuiltinOperator))


def test_every_measured_kernel_has_a_row():
    lines = shipped_costs().lines
    assert not set(lines) - set(OPERATORS)
    for name, row in lines.items():
        if OPERATORS[name].role is not Role.CONVERTS:
            assert not [precision for precision in row if not has_kernel(name, precision)], name


def test_weights_have_versions_and_moves_keep_their_scale():
    for name, spec in OPERATORS.items():
        if spec.weighted:
            assert spec.sum_length is not None, name
        if spec.dynamic_version or spec.int4_version:
            assert spec.weighted, name
        if spec.same_scale:
            assert spec.output is None, name
    assert not has_kernel("UNPACK", Precision.INT8)  # it has no single output
    assert has_kernel("FULLY_CONNECTED", Precision.DYNAMIC_INT4)
    assert not has_kernel("GELU", Precision.INT16X8)
    assert has_kernel("ERF", Precision.FLOAT32)
    assert not has_kernel("ERF", Precision.INT8)


@pytest.mark.parametrize(
    ("name", "inputs", "output", "macs"),
    [
        ("FULLY_CONNECTED", [(3, 5), (7, 5)], (3, 7), 3 * 7 * 5),
        ("CONV_2D", [(1, 9, 9, 4), (8, 3, 3, 4)], (1, 4, 4, 8), 4 * 4 * 8 * 3 * 3 * 4),
        ("DEPTHWISE_CONV_2D", [(1, 9, 9, 4), (1, 3, 3, 4)], (1, 9, 9, 4), 9 * 9 * 4 * 9),
        ("BATCH_MATMUL", [(2, 3, 5), (2, 5, 7)], (2, 3, 7), 2 * 3 * 7 * 5),
        ("ADD", [(3, 5), (3, 5)], (3, 5), 0),
        ("ERF", [(3, 5)], (3, 5), 0),
        ("TRANSPOSE_CONV", [(4,), (8, 3, 3, 4), (1, 9, 9, 4)], (1, 18, 18, 8), None),
    ],
)
def test_macs_are_the_elements_times_the_length_of_the_sum(name, inputs, output, macs):
    assert count_macs(name, inputs, output, SimpleNamespace(adjX=False)) == macs


def test_a_product_with_a_turned_operand_sums_over_its_rows():
    assert count_macs("BATCH_MATMUL", [(5, 3), (5, 7)], (3, 7), SimpleNamespace(adjX=True)) == 105


def is_function(node: ast.expr) -> bool:
    """Whether it names a function, or is one."""
    return isinstance(node, ast.Name | ast.Attribute | ast.Lambda)


def list_operator_lists(text: str) -> list[tuple[int, tuple[str, ...]]]:
    """(line, names) of each literal that says something of TFLite operators.

    A table of the functions that a pass has for each says nothing of the operator itself.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        values: list = []
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            values = node.elts
        elif isinstance(node, ast.Dict) and not all(map(is_function, node.values)):
            values = node.keys
        names = [v.value for v in values if isinstance(v, ast.Constant) and v.value in OPERATORS]
        if len(names) >= ENOUGH:
            found.append((node.lineno, tuple(names)))
    return found


def test_no_other_file_lists_operators():
    lists = {
        path.relative_to(PACKAGE): list_operator_lists(path.read_text())
        for path in PACKAGE.rglob("*.py")
    }
    assert {str(path) for path, found in lists.items() if found} == {"formats/tflite/operators.py"}


def test_a_list_of_operators_is_seen():
    (found,) = list_operator_lists(f"SUMS = {names_of(Role.MULTIPLIES)[:ENOUGH]}")
    assert len(found[1]) == ENOUGH
    assert list_operator_lists('kinds == ["TRANSPOSE", "RESHAPE", "FULLY_CONNECTED"]') == []
    table = ", ".join(f'"{name}": {{}}' for name in names_of(Role.MULTIPLIES)[:ENOUGH])
    assert list_operator_lists(f"AXES = {{{table.format(*'0123')}}}")
    assert (
        list_operator_lists(f"SPELLS = {{{table.format('f', 'np.abs', 'lambda x: x', 'g')}}}") == []
    )

"""Rewrites of an ONNX graph, one a file, in one ordered tuple.

The starting graph is tf2onnx's, before its own optimizers: every TensorFlow operation in its turn,
images B H W C with two Transposes around each convolution. Order matters: what is recognised by
its pieces (LayerNormalization, Gelu) comes before the pieces are moved; convolutions become
products while their Transposes still stand beside them; rows are gathered when all Gemms are there.
"""

from __future__ import annotations

import onnx_ir as ir

from edgevit.formats.onnx.writer.passes.attend_through_tokens import attend_through_tokens
from edgevit.formats.onnx.writer.passes.attend_with_one_query import ask_tokens, mix_tokens
from edgevit.formats.onnx.writer.passes.cancel_transposes import (
    cancel_transposes,
    raise_transposes,
    sink_transposes,
)
from edgevit.formats.onnx.writer.passes.convolve_few_rows import convolve_few_rows
from edgevit.formats.onnx.writer.passes.fix_reshape_targets import fix_reshape_targets
from edgevit.formats.onnx.writer.passes.fold_affine import fold_affine
from edgevit.formats.onnx.writer.passes.fold_norm_affine import fold_norm_affine
from edgevit.formats.onnx.writer.passes.fold_padding import fold_padding
from edgevit.formats.onnx.writer.passes.fold_scales import fold_input_scale
from edgevit.formats.onnx.writer.passes.fuse_dense import fuse_dense
from edgevit.formats.onnx.writer.passes.fuse_gelu import fuse_gelu
from edgevit.formats.onnx.writer.passes.fuse_hard_swish import fuse_hard_sigmoid, fuse_hard_swish
from edgevit.formats.onnx.writer.passes.fuse_layer_norm import fuse_layer_norm
from edgevit.formats.onnx.writer.passes.gather_rows import gather_rows, merge_reshapes
from edgevit.formats.onnx.writer.passes.gather_shift import gather_shift
from edgevit.formats.onnx.writer.passes.library import (
    fold_constants,
    infer_shapes,
    share_equal_nodes,
)
from edgevit.formats.onnx.writer.passes.lower_convolution import lower_convolution
from edgevit.formats.onnx.writer.passes.mean_as_product import mean_as_product
from edgevit.formats.onnx.writer.passes.merge_slices import join_slices, merge_slices
from edgevit.formats.onnx.writer.passes.place_channels import place_channels
from edgevit.formats.onnx.writer.passes.raise_resize_scales import raise_resize_scales
from edgevit.formats.onnx.writer.passes.scale_kernel import scale_kernel
from edgevit.formats.onnx.writer.passes.split_dense import split_dense
from edgevit.formats.onnx.writer.passes.split_padded_max_pool import split_padded_max_pool
from edgevit.formats.onnx.writer.passes.winograd_convolution import winograd_convolution
from edgevit.formats.passes import Pass

PASSES: tuple[Pass[ir.Model], ...] = (
    raise_resize_scales,
    infer_shapes,
    fold_constants,
    fix_reshape_targets,
    share_equal_nodes,
    fuse_layer_norm,
    fuse_gelu,
    fuse_hard_sigmoid,
    fuse_hard_swish,
    fold_affine,
    fold_input_scale,
    place_channels,
    cancel_transposes,
    lower_convolution,
    raise_transposes,
    sink_transposes,
    cancel_transposes,
    fold_padding,
    split_padded_max_pool,
    fuse_dense,
    merge_reshapes,
    split_dense,
    fold_affine,
    merge_slices,
    join_slices,
    gather_shift,
    mean_as_product,
    ask_tokens,
    mix_tokens,
    gather_rows,
    merge_reshapes,
    share_equal_nodes,
    fold_norm_affine,
    share_equal_nodes,
)

# The same for onnx-dynamic, whose kernels know products of rows and no convolutions: there 1x1
# convolutions stay B H W C and become Gemms.
ROW_PASSES: tuple[Pass[ir.Model], ...] = tuple(row for row in PASSES if row is not place_channels)

# Behind those in float32 files: what is of no use to 8-bit kernels, because it makes a trained
# operand a computed one, or computes what Keras does not, or is about the bytes of float kernels.
FLOAT_PASSES: tuple[Pass[ir.Model], ...] = (
    scale_kernel,
    attend_through_tokens,
    convolve_few_rows,
    merge_reshapes,
    share_equal_nodes,
)

# Behind those, in onnx-float32-cpu: what pays on CPUs only.
CPU_PASSES: tuple[Pass[ir.Model], ...] = (
    winograd_convolution,
    cancel_transposes,
    raise_transposes,
    sink_transposes,
    cancel_transposes,
    merge_reshapes,
    gather_rows,
    merge_reshapes,
    share_equal_nodes,
)

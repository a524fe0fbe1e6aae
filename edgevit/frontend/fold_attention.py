"""The kernels of self-attention without keys and values, for graphs of any format.

With tokens X (N C) and per head, ``(X Wq + bq) (X Wk + bk)^T`` is ``(X Wq Wk^T + bq Wk^T) X^T``
plus one number a row, which the softmax ignores; and ``P (X Wv + bv) Wo`` is ``(P X) (Wv Wo)`` plus
``bv Wo``, since P's rows sum to one. The two products of weights are made once, in double
precision. What is left of the layer are four products:

1. queries: X (N C) by C K*C, where K heads lie side by side;
2. scores: the same numbers as N*K rows of C, by X^T;
3. mixing: the softmax of those rows, by X;
4. output: the same numbers as N rows of K*C, by K*C O.

Rows of a query's heads follow each other, so nothing is transposed. Keras' MultiHeadAttention takes
``key_dim`` for each head: where it is the tokens' width, as in the tutorial's ViT, this halves the
layer's weights. Where heads are narrower (usually C = K D), the products would be larger.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# How a Dense layer's columns become heads: B N K D -> B K D N, B K N D.
HEADS_LAST, HEADS_FIRST = (0, 2, 3, 1), (0, 2, 1, 3)


@dataclass(frozen=True)
class AttentionKernels:
    """What a layer of self-attention is trained to, heads apart.

    Attributes:
        queries, keys, values: C K D each.
        output: K D O.
        queries_bias, values_bias: K D; None without one. Keys need none.
        output_bias: O; None without one.
    """

    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    output: np.ndarray
    queries_bias: np.ndarray | None = None
    values_bias: np.ndarray | None = None
    output_bias: np.ndarray | None = None

    def pays(self, tokens: int) -> bool:
        """Whether N tokens cost fewer multiplications without keys and values."""
        channels, _, depth = self.queries.shape
        width = self.output.shape[-1]
        # Of one head for one token; the scores and their mixing are 2 N.
        before = depth * (3 * channels + width + 2 * tokens)
        after = channels * (channels + width + 2 * tokens)
        return after < before

    def fold(self) -> FoldedKernels:
        """Each head's Wq Wk^T and Wv Wo, and what becomes of the biases."""
        parts = (self.queries, self.keys, self.values, self.output)
        query, key, value, out = (part.astype(np.float64) for part in parts)
        channels, heads, _ = query.shape
        queries_bias = None
        if self.queries_bias is not None:
            queries_bias = np.einsum("kd,ckd->kc", self.queries_bias.astype(np.float64), key)
        biases = []
        if self.output_bias is not None:
            biases.append(self.output_bias.astype(np.float64))
        if self.values_bias is not None:
            biases.append(np.einsum("kd,kdo->o", self.values_bias.astype(np.float64), out))
        return FoldedKernels(
            np.einsum("ckd,ekd->cke", query, key).reshape(channels, -1),
            np.einsum("ckd,kdo->kco", value, out).reshape(heads * channels, -1),
            None if queries_bias is None else queries_bias.reshape(-1),
            np.sum(biases, axis=0) if biases else None,
        )


@dataclass(frozen=True)
class FoldedKernels:
    """The kernels of the first and the last product, in double precision.

    Attributes:
        queries: C K*C.
        output: K*C O.
        queries_bias: K*C; None without one.
        output_bias: O; None without one.
    """

    queries: np.ndarray
    output: np.ndarray
    queries_bias: np.ndarray | None
    output_bias: np.ndarray | None

"""The cheapest division of a graph in two, exactly: a minimum cut (Picard and Ratliff 1975)."""

from __future__ import annotations

import numpy as np

NEVER = 2.0**31 - 1  # more than any graph costs, and maximum_flow counts in int32
SOURCE, SINK = 0, 1


class FlowNetwork:
    """Nodes of two sides, and what it costs to part them.

    Args:
        count: how many nodes are to be divided; they are numbered from 2 on.
    """

    def __init__(self, count: int):
        self.count = count
        self._size = 2 + count
        self._edges: dict[tuple[int, int], float] = {}

    def add_node(self) -> int:
        """One more node, whose side nobody asks for."""
        self._size += 1
        return self._size - 1

    def add_edge(self, start: int, end: int, capacity: float) -> None:
        """What it costs if the start is on the source's side and the end on the sink's."""
        self._edges[start, end] = self._edges.get((start, end), 0.0) + capacity

    def add_tensor(self, writer: int, readers: list[int], to_source: float, to_sink: float) -> None:
        """One conversion for all readers on the other side than the writer.

        Args:
            writer: node, SOURCE or SINK.
            readers: likewise.
            to_source: cost if the writer is on the sink's side and a reader on the source's.
            to_sink: cost the other way round.
        """
        readers = [reader for reader in readers if reader != writer]
        if not readers:
            return
        if writer != SOURCE:
            some = self.add_node()
            self.add_edge(some, writer, to_source)
            for reader in readers:
                self.add_edge(reader, some, NEVER)
        if writer != SINK:
            some = self.add_node()
            self.add_edge(writer, some, to_sink)
            for reader in readers:
                self.add_edge(some, reader, NEVER)

    def cut(self) -> np.ndarray:
        """Whether each node is on the source's side; as few as the least cost allows."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        places = np.array(list(self._edges), dtype=np.int32).reshape(-1, 2)
        capacities = np.minimum(np.rint(list(self._edges.values())), NEVER).astype(np.int32)
        shape = (self._size, self._size)
        capacity = csr_array((capacities, (places[:, 0], places[:, 1])), shape=shape)
        residual = capacity - maximum_flow(capacity, SOURCE, SINK).flow
        residual.data = np.maximum(residual.data, 0)
        residual.eliminate_zeros()
        reached = breadth_first_order(residual, SOURCE, return_predecessors=False)
        chosen = np.zeros(self._size, bool)
        chosen[reached] = True
        return chosen[2 : 2 + self.count]

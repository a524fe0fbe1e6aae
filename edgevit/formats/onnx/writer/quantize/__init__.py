"""Writing ONNX graphs in 8 and 16 bits."""

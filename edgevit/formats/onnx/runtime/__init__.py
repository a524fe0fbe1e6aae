"""Reading and running ONNX files; shares no code with the writer."""

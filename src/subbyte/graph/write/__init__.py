"""From a prepared network and its coded weights to an ONNX file."""

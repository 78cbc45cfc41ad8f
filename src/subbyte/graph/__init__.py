"""Networks: read from ONNX, run as torch modules, written back as small ONNX files."""

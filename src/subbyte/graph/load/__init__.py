"""From an ONNX file or a torch module to a prepared `Network`; faults of files are found here."""

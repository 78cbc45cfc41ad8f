"""The model-local functions of domain ``subbyte``: the bodies that any ONNX runtime runs."""

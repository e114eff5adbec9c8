"""Models out of Python: ONNX files that onnxruntime runs without torch, and programs of torch.export."""

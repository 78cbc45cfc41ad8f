"""A network as a differentiable ``nn.Module``, step by step."""

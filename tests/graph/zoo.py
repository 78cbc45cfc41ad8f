"""Small networks of the families that people export, and their ONNX files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.graph.zoo_recurrent import Reader


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(inputs, outputs, 3, stride), nn.ReLU(), conv_bn(outputs, outputs, 3)
        )
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


def resnet() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 8, 7, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Residual(8, 8, 1),
        Residual(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def vgg() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2, 2),
        nn.AdaptiveAvgPool2d((4, 4)),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(32, 10),
    )


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


def densenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        DenseLayer(8, 4),
        DenseLayer(12, 4),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 8, 1, bias=False),
        nn.AvgPool2d(2, 2),
        DenseLayer(8, 4),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 10),
    )


class InvertedResidual(nn.Module):
    def __init__(self, width: int, act: type[nn.Module], squeeze: bool) -> None:
        super().__init__()
        parts = [
            conv_bn(width, 4 * width, 1),
            act(),
            conv_bn(4 * width, 4 * width, 3, 1, 4 * width),
        ]
        parts += [act()] + ([SqueezeExcite(4 * width)] if squeeze else [])
        self.body = nn.Sequential(*parts, conv_bn(4 * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // 4, 1),
            nn.ReLU(),
            nn.Conv2d(width // 4, width, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


def mobilenet(act: type[nn.Module], squeeze: bool) -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2),
        act(),
        InvertedResidual(8, act, squeeze),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 16),
        act(),
        nn.Dropout(0.2),
        nn.Linear(16, 10),
    )


class Bert(nn.Module):
    """Token and position embedding, attention mask from ids, two encoder layers, pooler."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.tokens, self.places = nn.Embedding(50, width), nn.Embedding(16, width)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.out, self.norm1 = nn.Linear(width, width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm2, self.pooler = nn.LayerNorm(width), nn.Linear(width, 5)

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        n, s, width = x.shape
        q, k, v = (
            layer(x).view(n, s, self.heads, width // self.heads).transpose(1, 2)
            for layer in self.qkv
        )
        scores = q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5 + mask
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, s, width))

    def forward(self, ids: Tensor) -> Tensor:
        keep = (ids != 0)[:, None, None, :]
        mask = torch.where(keep, 0.0, -1e4).expand(-1, 1, ids.shape[1], -1)
        x = self.norm(self.tokens(ids) + self.places(torch.arange(ids.shape[1])))
        x = self.norm1(x + self.attend(x, mask))
        x = self.norm2(x + self.down(F.gelu(self.up(x))))
        return torch.tanh(self.pooler(x[:, 0]))


class Vit(nn.Module):
    """Patches, class token, torch's own encoder layers (scaled_dot_product_attention)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 17, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 64, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.encoder(x)[:, 0])


class Decoder(nn.Module):
    """A segmentation head: transposed convolution, group norm, bilinear and nearest resize."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm, self.instance = nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)
        self.up = nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.norm(self.down(x)))
        y = F.leaky_relu(self.instance(self.up(y)), 0.1)
        y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
        y = F.pixel_shuffle(F.avg_pool2d(y, 3, 2, 1), 2)
        y = torch.cat([y, y], 1).repeat(1, 2, 1, 1)
        return self.head(F.interpolate(y, scale_factor=0.5, mode="nearest"))


class Speech(nn.Module):
    """1-D convolutions: strided, depthwise in a residual block with gates, transposed."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv1d(8, width, 5, 2, 2, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm, self.gates = nn.BatchNorm1d(width), nn.Conv1d(width, 2 * width, 1)
        self.squeeze = nn.Linear(width, width)
        self.up = nn.ConvTranspose1d(width, width, 4, 2, 1)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = F.glu(self.gates(F.silu(self.norm(self.depthwise(x)))), 1)
        x = x + y * torch.sigmoid(self.squeeze(y.mean(-1))).unsqueeze(-1)
        x = F.max_pool1d(F.pad(self.up(x), (2, 0)), 2)
        return self.head(x.transpose(1, 2))


class CausalLm(nn.Module):
    """A causal attention decoder with RMS normalisation, rotary angles and a gated MLP."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.embed = heads, nn.Embedding(50, width)
        self.norm, self.qkv = nn.RMSNorm(width), nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate, self.up = nn.Linear(width, 48), nn.Linear(width, 48)
        self.down = nn.Linear(48, width)
        angles = torch.outer(torch.arange(16.0), 100.0 ** -torch.arange(0, 1, 2 * heads / width))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def turn(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        cos, sin = self.cos[: x.shape[2]], self.sin[: x.shape[2]]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        n, s, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.turn(q), self.turn(k), v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(n, s, width))
        x = x + self.down(F.silu(self.gate(x)) * self.up(x))
        return x @ self.embed.weight.t()


def image(batch: int) -> Tensor:
    return torch.randn(batch, 3, 32, 32)


def sound(batch: int) -> Tensor:
    return torch.randn(batch, 8, 40)


def ids(batch: int) -> Tensor:
    return torch.randint(0, 50, (batch, 12))


ZOO: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "resnet": (resnet, image),
    "vgg": (vgg, image),
    "densenet": (densenet, image),
    "mobilenet_v2": (lambda: mobilenet(nn.ReLU6, squeeze=False), image),
    "mobilenet_v3": (lambda: mobilenet(nn.Hardswish, squeeze=True), image),
    "bert": (Bert, ids),
    "vit": (Vit, image),
    "decoder": (Decoder, image),
    "causal_lm": (CausalLm, ids),
    "speech": (Speech, sound),
    "reader": (Reader, image),
}
"""name -> (make the module, make an input for a batch size)."""


def make(name: str) -> tuple[nn.Module, Callable[[int], Tensor]]:
    """The module in eval mode with non-trivial BatchNorm statistics, and its input maker."""
    torch.manual_seed(0)
    build, make_input = ZOO[name]
    module = build()
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(part.running_mean, -1, 1)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return module.eval(), make_input


def export(
    module: nn.Module, example: Tensor, path: Path, opset: int, dynamo: bool, dynamic: bool = True
) -> Path:
    """Write ``module`` as ONNX, with a dynamic batch axis or the example's baked in."""
    with warnings.catch_warnings():
        # The exporters warn about their own deprecated parts.
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
            program = torch.onnx.export(
                module,
                (example,),
                opset_version=opset,
                dynamo=True,
                dynamic_shapes=shapes,
                verbose=False,
            )
            program.save(path)
        else:
            axes = {"x": {0: "batch"}} if dynamic else None
            stream = io.BytesIO()
            torch.onnx.export(
                module,
                (example,),
                stream,
                opset_version=opset,
                dynamo=False,
                input_names=["x"],
                dynamic_axes=axes,
            )
            path.write_bytes(stream.getvalue())
    return path

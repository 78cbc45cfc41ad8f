"""Predicted times of layers."""

from __future__ import annotations

import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.latency.blank import blank_model
from subbyte.compression.latency.model import kernel_format, latency_model
from subbyte.compression.run import Run
from subbyte.errors import TimingsError
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary.form import TernaryOptions
from subbyte.runtime.native.layers import KernelFormat, LayerSize
from tests import tiny
from tests.compression.pretended import MODEL, SAMPLES, timings


def test_which_kernel_computes_a_layer() -> None:
    layer = prepare(MODEL, "net").layers[1]
    size = LayerSize(64, 64, 32, 32, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert kernel_format(layer, size, ProductOptions(4, gain=0)) == KernelFormat(4)
    assert kernel_format(layer, size, ProductOptions(8, gain=2)) == KernelFormat(8, gain=True)
    assert kernel_format(layer, size, ProductOptions(4, words=32)) == KernelFormat()
    assert kernel_format(layer, size, ScalarOptions(4)) == kernel_format(layer, size, EIGHT_BITS)
    assert kernel_format(layer, size, ProductOptions(3)) == KernelFormat(3)
    assert kernel_format(layer, size, ScalarOptions(2)) == KernelFormat(2)
    # With a stride, a table serves too few look-ups.
    strided = LayerSize(64, 64, 32, 32, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    assert kernel_format(layer, strided, ScalarOptions(2)) == KernelFormat()
    small = LayerSize(4, 4, 32, 32, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert kernel_format(layer, small, ProductOptions(4)) == KernelFormat()
    assert kernel_format(layer, size, TernaryOptions(8)) == KernelFormat()
    assert kernel_format(layer, size, CompositeOptions(4)) == KernelFormat()
    binary = BinaryOptions(order=1, scales="pixel")
    assert kernel_format(layer, size, binary) == KernelFormat(order=1, scales="pixel")
    streamed = LayerSize(1, 1, 1024, 1024, linear=True)
    for bits in (2, 3, 4):
        assert kernel_format(layer, streamed, ScalarOptions(bits)) == KernelFormat(bits=bits)


def test_many_words_are_looked_up_where_the_file_will_say_so() -> None:
    """The rule is that of `table_shifts`: tables of many words need many outputs."""
    layer = prepare(tiny.classifier(tiny.conv_weights(width=128)), "net").layers[1]
    size = LayerSize(28, 28, 128, 128, kernel=(3, 3), pads=(1, 1, 1, 1))
    for words in (32, 64):
        form = kernel_format(layer, size, ProductOptions(8, words=words, gain=1))
        assert form == KernelFormat(8, gain=True, words=words)
        assert form.name == f"look-up 8 of {words} gain"
    assert kernel_format(layer, size, ProductOptions(2, words=256)) == KernelFormat()
    small = LayerSize(1, 1, 128, 128, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert kernel_format(layer, small, ProductOptions(8, words=64)) == KernelFormat()


def test_sizes_of_the_layers() -> None:
    model = latency_model(Run(prepare(MODEL, "net"), SAMPLES), timings())
    assert model.sizes["conv2"] == LayerSize(6, 6, 32, 32, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert model.sizes["head"] == LayerSize(1, 1, 32, 4, linear=True)
    work = 6 * 6 * 9 * 32 * 32
    assert model.seconds("conv2.weight", EIGHT_BITS) == pytest.approx(1e-9 * work)
    rows = 6 * 6 * 9 * 32
    assert model.seconds("conv2.weight", BinaryOptions(2)) == pytest.approx(1e-9 * rows)
    with pytest.raises(TimingsError, match=r"no kernel timings.*got binary 5 column"):
        model.seconds("conv2.weight", BinaryOptions(5))


def test_a_blank_file_is_looked_up_where_the_file_will_be() -> None:
    network = prepare(MODEL, "net")
    model = latency_model(Run(network, SAMPLES), timings())
    form = {layer.weight: ProductOptions(4) for layer in model.layers}
    form["head.weight"] = EIGHT_BITS
    # All its layers are too small to be looked up.
    assert model.looked_up(form) == set()
    model = latency_model(Run(network, SAMPLES), timings(), least_work=1)
    assert model.looked_up(form) == {"conv1", "conv2"}
    for names in (set(), {"conv2"}):
        written = blank_model(network, form, CompressOptions(), names)
        marked = {
            n.name for n in written.graph.node for a in n.attribute if a.name == "table_shift"
        }
        assert marked == names

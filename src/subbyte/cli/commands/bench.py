"""``subbyte bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subbyte.cli import options
from subbyte.cli.console import OUT, Column, check_outputs, print_table, stage_progress, write_json
from subbyte.cli.spelling import as_typed
from subbyte.runtime import Engine

_FIGURES = {"median_ms": ".3f", "min_ms": ".3f", "iqr_ms": ".3f", "ratio": ".3f"}
_CLOSENESS = {"cosine": ".4f", "top1": ".1f"}


def command(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="A.onnx", help="Networks; the first is the measure."),
    ],
    threads: Annotated[int, typer.Option(metavar="N", help="Threads of ONNX Runtime.")] = 1,
    runs: Annotated[int, typer.Option(metavar="N", help="Timed runs of each network.")] = 50,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Samples a run, where the network leaves it free.")
    ] = 1,
    shape: Annotated[
        list[options.InputShape] | None,
        typer.Option(
            metavar="NAME=1x3x224x224",
            parser=options.parse_shape,
            help="Full shape of an input that has free dimensions besides the batch "
            "(repeat for several inputs).",
        ),
    ] = None,
    set_input: options.SetInput = None,
    engine: Annotated[
        Engine | None,
        typer.Option(
            help="native: subbyte's own kernels. portable: ONNX Runtime alone.",
            show_default="both for compressed networks",
        ),
    ] = None,
    peers: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Also time the first network, a float one, in other runtimes (packages of the "
            "extra bench): onnxruntime-int8, openvino-fp32, openvino-int8, ncnn-fp32 ..., "
            "or all. One that cannot be had is named with the reason.",
            show_default=False,
        ),
    ] = "",
    json: options.JsonFile = None,
) -> None:
    """Compare the latency of networks in ONNX Runtime, and with other runtimes.

    The networks take turns, run by run, on the same random input, so that a busy machine disturbs
    all of them alike. **ratio** is a network's time divided by the first network's time in the same
    round, as the median over the rounds: below 1 is faster.

    With `--peers`, **cosine** and **top1** (percent) say how closely each output follows the first
    network's on 8 random inputs. This checks that a runtime computes the same network; `subbyte
    eval` measures accuracy, on real samples.

    Example:

    ```
    subbyte bench net.onnx small.onnx --runs 200 --peers openvino-int8,ncnn-fp32
    ```
    """
    from subbyte.report import bench
    from subbyte.report.peers import PEERS

    check_outputs(json, networks=models, arrays=set_input or [])
    with stage_progress() as progress:
        result = bench(
            models,
            threads=threads,
            runs=runs,
            batch_size=batch_size,
            shapes=options.by_input(shape, "--shape"),
            engine=engine,
            set_inputs=set_input,
            peers=PEERS if peers == "all" else [name for name in peers.split(",") if name],
            progress=progress,
        )
    write_json(json, result.to_dict())
    formats = _FIGURES | (_CLOSENESS if peers else {})
    rows = [
        [row.model, row.engine, *(format(getattr(row, key), form) for key, form in formats.items())]
        for row in result.models
    ]
    columns: dict[str, Column] = {"network": "text", "engine": "word"}
    columns |= dict.fromkeys((key.replace("_", " ") for key in formats), "number")
    print_table(None, columns, rows)
    for peer in result.missing:
        OUT.print(
            f"not measured: {peer.peer}: {as_typed(peer.reason)}",
            markup=False,
            soft_wrap=True,
        )
    system = result.system
    OUT.print(
        f"{runs} runs each, {threads} thread(s), {system['cpu']}, "
        f"onnxruntime {system['versions'].get('onnxruntime', '?')}, "
        f"native kernels: {result.native_isa or 'none'}"
    )

"""`gpudoctor bench` and its two commands, as typer declares them."""

from enum import Enum
from typing import Annotated

import typer

from gpudoctor.cli.declared import Format, Output, OutputFormat, PageFormat, PageOutputFormat


class Backend(str, Enum):
    """As `gpudoctor.bench.run.BACKENDS`, which would import numpy."""

    AUTO = "auto"
    CUPY = "cupy"
    TORCH = "torch"
    NUMPY = "numpy"


class CurveBackend(str, Enum):
    """Those of them that have an array module of NumPy's kind."""

    AUTO = "auto"
    CUPY = "cupy"
    NUMPY = "numpy"


class PrecisionName(str, Enum):
    """As `gpudoctor.bench.devices.precision.Precision`."""

    FP64 = "fp64"
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"


bench_app = typer.Typer(
    help="Prove by training convolution nets that the GPU trains. SKIPPED is never a pass.",
    invoke_without_command=True,
    rich_markup_mode=None,
    epilog="Exit codes: 0 trains, 2 does not, 3 could not run.",
)


@bench_app.callback()
def bench_command(
    context: typer.Context,
    backend: Annotated[
        Backend, typer.Option(help="auto: CuPy, or torch where that is installed; numpy: the CPU.")
    ] = Backend.AUTO,
    quick: Annotated[bool, typer.Option("--quick", help="About 10 seconds instead of a minute.")] = False,
    burn: Annotated[
        str | None, typer.Option("--burn", metavar="TIME", help="Full load after it, for 10m, 90s or 1h.")
    ] = None,
    all_gpus: Annotated[bool, typer.Option("--all", help="All GPUs at once, and what lies between them.")] = False,
    gpu: Annotated[
        list[str] | None, typer.Option("--gpu", metavar="N", help="This GPU: number or UUID; repeatable.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(metavar="FILE", help="Compare with the result in this file.")] = None,
    save_baseline: Annotated[
        str | None, typer.Option(metavar="FILE", help="Keep the result there, to compare with later.")
    ] = None,
    python: Annotated[
        str | None, typer.Option(metavar="PATH", help="The Python whose torch is tested. [default: the first found]")
    ] = None,
    format: PageOutputFormat = PageFormat.TEXT,
    output: Output = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="For weights and data.")] = 0,
) -> int | None:
    if context.invoked_subcommand:
        return None
    from gpudoctor.cli.bench import BenchOptions, bench

    return bench(
        BenchOptions(
            backend.value,
            quick,
            burn,
            all_gpus,
            tuple(gpu or ()),
            baseline,
            save_baseline,
            python,
            format.value,
            output,
            seed,
        )
    )


@bench_app.command("plan")
def bench_plan_command(
    net: Annotated[str, typer.Argument(metavar="NET", help='vgg16, lenet, ... or a text: "32x32x3: conv64 fc10".')],
    image: Annotated[str | None, typer.Option(metavar="HxWxC", help="Another size of the images.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, metavar="N", help="Images at once. [default: what fits]")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="24GiB. [default: free on this GPU]")] = None,
    precision: Annotated[PrecisionName, typer.Option(help="How the numbers are stored.")] = PrecisionName.FP32,
    format: OutputFormat = Format.TEXT,
    output: Output = None,
) -> int:
    """Say what a net needs: sizes, parameters, memory, FLOPs, batch."""
    from gpudoctor.cli.bench_plan import bench_plan

    return bench_plan(
        net, image=image, batch=batch, memory=memory, precision=precision.value, format=format.value, output=output
    )


@bench_app.command("curve")
def bench_curve_command(
    data: Annotated[str, typer.Option(metavar="DATA", help="digits, or a folder of CIFAR-10.")] = "digits",
    net: Annotated[str | None, typer.Option(metavar="NET", help="As for plan. [default: one that fits]")] = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Numbers of training samples. [default: 20 up to all]")
    ] = None,
    backend: Annotated[
        CurveBackend, typer.Option(help="auto: the GPU where CuPy finds one, else the CPU.")
    ] = CurveBackend.AUTO,
    plot: Annotated[str | None, typer.Option(metavar="FILE", help="Also draw a PNG or SVG (extra: plot).")] = None,
    format: PageOutputFormat = PageFormat.TEXT,
    output: Output = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="For weights and data.")] = 0,
) -> int:
    """Show how accuracy grows with the number of training samples."""
    from gpudoctor.cli.bench_curve import bench_curve

    return bench_curve(
        data=data, net=net, sizes=sizes, backend=backend.value, seed=seed, plot=plot, format=format.value, output=output
    )

"""Cases of sampling; the twins are functions of torch.nn.functional, wrapped as modules."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from refbp.draws import Draw, exactly, normal, uniform
from refbp.hookspecs import hookimpl
from refbp.layers.sampling import AffineGrid, GridSample, GumbelSoftmax
from refbp.spec import Case, Convention, Exempt, Spec, Waiver

IMAGE, VOLUME = normal(2, 3, 5, 7), normal(2, 3, 2, 5, 3)
PLACES = uniform(2, 3, 2, 2, low=-1.4, high=1.4)
IN_VOLUME = uniform(2, 1, 3, 2, 3, low=-1.4, high=1.4)
MODES: tuple[Any, ...] = ("bilinear", "bicubic", "nearest")
PADDINGS: tuple[Any, ...] = ("zeros", "border", "reflection")


def _function(name: str) -> Callable[[Any], Any]:
    """The twin that calls a function of torch.nn.functional with the layer's arguments."""

    def twin(layer: Any) -> Any:
        import torch

        class Function(torch.nn.Module):
            def forward(self, *inputs: Any) -> Any:
                if name == "grid_sample" and not inputs[1].isfinite().all():  # there torch crashes: pytorch #24823
                    raise ValueError("a grid that is not finite")
                return getattr(torch.nn.functional, name)(*inputs, **layer.arguments())

        return Function()

    return twin


def _grid_cases() -> Iterator[Case]:
    for padding, aligned in itertools.product(PADDINGS, (True, False)):
        name = f"{padding}-{'corners' if aligned else 'rims'}"
        bilinear, bicubic, nearest = (GridSample(mode, padding, aligned) for mode in MODES)
        yield Case(bilinear, IMAGE, PLACES, id=f"bilinear-{name}")
        yield Case(bicubic, IMAGE, PLACES, id=f"bicubic-{name}")
        yield Case(nearest, normal(2, 1, 3, 5), _between(2, 2, 3, 2), id=f"nearest-{name}")
        yield Case(bilinear, VOLUME, IN_VOLUME, id=f"trilinear-{name}")
        yield Case(nearest, normal(2, 1, 2, 3, 2), _between(2, 2, 1, 2, 3), id=f"nearest-volume-{name}")
        yield Case(bilinear, normal(2, 3, 1, 5), PLACES, id=f"one-row-{name}")
        yield Case(bilinear, *_on_lines(aligned, 2), id=f"kink-{name}")
        yield Case(bilinear, *_on_lines(aligned, 3), id=f"kink-volume-{name}")
    yield Case(GridSample(), IMAGE, PLACES, id="default")


def _between(*shape: int) -> Draw:
    """Places away from every tie. Exact, for the nearest pixel has slope 0 everywhere."""
    values = [-1.3, -0.9, -0.4, 0.13, 0.27, 0.77, 0.93, 1.2, 1.35, -0.17, 0.61, -0.63]
    return exactly(values + values[::-1], shape=shape)


def _on_lines(aligned: bool, rank: int) -> tuple[Draw, Draw]:
    """Places on the centres of pixels, where cells meet and where the image ends; and on its rims."""
    centres = (-1.0, -0.5, 0.0, 0.5, 1.0) if aligned else (-1.0, -0.75, -0.25, 0.75, 1.0)
    across = (-1.0, 0.0, 1.0) if aligned else (-0.5, 0.5, 1.0)
    grid = [[x, *(across[(i + k) % 3] for k in range(rank - 1))] for i, x in enumerate(centres + centres[1:-1])]
    image = normal(1, 2, *[3 if aligned else 2] * (rank - 1), 5 if aligned else 4)
    return image, exactly(grid, shape=(1, *[1] * (rank - 2), 2, 4, rank))


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """GridSample, AffineGrid, GumbelSoftmax."""
    yield Spec(
        GridSample,
        list(_grid_cases()),
        twin=_function("grid_sample"),
        conventions=[
            Convention("a place on the line between two cells", "the slope of the cell to the right of it"),
            Convention("a place on the border, where it is moved or mirrored back", "slope 0"),
        ],
    )
    yield Spec(
        AffineGrid,
        [
            Case(AffineGrid((2, 3, 5, 7)), normal(2, 2, 3), id="image"),
            Case(AffineGrid((2, 3, 5, 7), align_corners=True), normal(2, 2, 3), id="image-corners"),
            Case(AffineGrid((3, 1, 2, 5, 3), False), normal(3, 3, 4), id="volume"),
            Case(AffineGrid((3, 1, 2, 5, 3), True), normal(3, 3, 4), id="volume-corners"),
            Case(AffineGrid((1, 2, 1, 3), True), normal(1, 2, 3), id="one-row"),
        ],
        twin=_function("affine_grid"),
        waivers=[Waiver("nonfinite", "the middle of torch's grid is only nearly 0, and avoids 0 · ∞", always=False)],
    )
    yield Spec(
        GumbelSoftmax,
        [
            Case(GumbelSoftmax(), normal(3, 5), id="rows"),
            Case(GumbelSoftmax(0.3), normal(2, 3, 5), id="cold"),
            Case(GumbelSoftmax(0.7, dim=1), normal(2, 3, 5), id="middle"),
            Case(GumbelSoftmax(hard=True), normal(3, 5), id="hard"),
            Case(GumbelSoftmax(1.7, True, 0), normal(5, 3), id="hard-columns"),
            Case(GumbelSoftmax(), normal(7), id="vector"),
        ],
        twin=_function("gumbel_softmax"),
        noise=lambda _layer, probe, x: (probe.gumbel(x.shape),),
        exempt=[
            Exempt(
                "witness",
                "the straight-through gradient is not the choice's own",
                when=lambda case: "hard" in (case.id or ""),
            )
        ],
    )

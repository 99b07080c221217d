"""Cases of resampling: up and down, by a size and by a factor that leaves a remainder, corners aligned and not."""

from collections.abc import Iterator
from typing import Any

from refbp.draws import normal
from refbp.hookspecs import hookimpl
from refbp.layers.resampling import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d
from refbp.spec import Case, Spec, Waiver

LINE, IMAGE, VOLUME = normal(2, 3, 5), normal(2, 3, 5, 7), normal(2, 3, 2, 5, 3)


def _interpolating(mode: Any, draw: Any, factors: tuple[float, ...], size: tuple[int, ...]) -> list[Case]:
    return [
        Case(Upsample(size, mode=mode), draw, id=f"{mode}-size"),
        Case(Upsample(scale_factor=2, mode=mode), draw, id=f"{mode}-double"),
        Case(Upsample(scale_factor=factors, mode=mode), draw, id=f"{mode}-factors"),
        Case(Upsample(scale_factor=factors, mode=mode, recompute_scale_factor=True), draw, id=f"{mode}-recomputed"),
        Case(Upsample(size, mode=mode, align_corners=True), draw, id=f"{mode}-aligned-size"),
        Case(Upsample(None, factors, mode, True), draw, id=f"{mode}-aligned-factors"),
        Case(Upsample(scale_factor=0.7, mode=mode, align_corners=False), draw, id=f"{mode}-down"),
        Case(Upsample(1, mode=mode, align_corners=True), draw, id=f"{mode}-one-pixel"),
    ]


KEPT_NAN = "where the size stays the same, torch adds the pixel a second time with weight 0, and 0 · ∞ is NaN"


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Upsample in every mode and rank, UpsamplingNearest2d, UpsamplingBilinear2d."""
    read_elsewhere = ("nearest-exact-rounded", "nearest-kept", "bicubic-kept")
    yield Spec(
        Upsample,
        [
            Case(Upsample(7), LINE, id="nearest-size"),
            Case(Upsample(scale_factor=3), LINE, id="nearest-three-times"),
            Case(Upsample(scale_factor=(1.7, 0.3)), IMAGE, id="nearest-factors"),
            Case(Upsample(scale_factor=(1.7, 0.3), recompute_scale_factor=True), IMAGE, id="nearest-recomputed"),
            Case(Upsample((3, 5, 2)), VOLUME, id="nearest-volume"),
            Case(Upsample(3, mode="nearest-exact"), LINE, id="nearest-exact-size"),
            Case(Upsample(scale_factor=(1.7, 0.3), mode="nearest-exact"), IMAGE, id="nearest-exact-factors"),
            Case(Upsample((3, 5, 2), mode="nearest-exact"), VOLUME, id="nearest-exact-volume"),
            Case(Upsample(41, mode="nearest-exact"), normal(2, 3, 2), id="nearest-exact-rounded"),
            Case(Upsample(scale_factor=1.2), normal(2, 3, 4), id="nearest-kept"),
            Case(Upsample(7, mode="area"), LINE, id="area-up"),
            Case(Upsample((3, 2), mode="area"), IMAGE, id="area-down"),
            Case(Upsample(scale_factor=(1.7, 0.7, 1.3), mode="area"), VOLUME, id="area-factors"),
            *_interpolating("linear", LINE, (1.7,), (3,)),
            Case(Upsample(scale_factor=1.2, mode="linear"), normal(2, 3, 4), id="linear-kept"),
            *_interpolating("bilinear", IMAGE, (1.7, 0.3), (3, 11)),
            *_interpolating("bicubic", IMAGE, (1.7, 0.3), (3, 11)),
            Case(Upsample(scale_factor=(1.2, 1.1), mode="bicubic"), normal(2, 3, 4, 5), id="bicubic-kept"),
            *_interpolating("trilinear", VOLUME, (1.7, 0.7, 1.4), (3, 2, 5)),
        ],
        waivers=[
            Waiver(
                "gradients",
                "torch's backward takes the nearest pixel at another place than its forward, which rounds less",
                when=lambda case: case.id == read_elsewhere[0],
            ),
            Waiver(
                "gradients",
                "torch's backward copies where the size stays the same; its forward moved the pixels by the factor",
                when=lambda case: case.id in read_elsewhere[1:],
                thread="pytorch PR #184848",
            ),
            Waiver(
                "nonfinite",
                KEPT_NAN,
                when=lambda case: case.id == "linear-kept",
            ),
        ],
    )
    yield Spec(
        UpsamplingNearest2d,
        [
            Case(UpsamplingNearest2d(scale_factor=2), IMAGE, id="double"),
            Case(UpsamplingNearest2d((3, 11)), IMAGE, id="size"),
            Case(UpsamplingNearest2d(None, (1.7, 0.3)), IMAGE, id="factors"),
            Case(UpsamplingNearest2d(3), IMAGE, id="square"),
        ],
    )
    yield Spec(
        UpsamplingBilinear2d,
        [
            Case(UpsamplingBilinear2d(scale_factor=2), IMAGE, id="double"),
            Case(UpsamplingBilinear2d((3, 11)), IMAGE, id="size"),
            Case(UpsamplingBilinear2d(None, (1.7, 0.3)), IMAGE, id="factors"),
            Case(UpsamplingBilinear2d(1), IMAGE, id="one-pixel"),
            Case(UpsamplingBilinear2d((5, 3)), IMAGE, id="rows-kept"),
        ],
        waivers=[Waiver("nonfinite", KEPT_NAN, when=lambda case: case.id == "rows-kept", always=False)],
    )

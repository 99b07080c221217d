"""Cases of the convolutions: odd and even kernels, windows that overlap and that leave gaps, every option with others."""

from collections.abc import Iterator

from refbp.draws import exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from refbp.spec import Case, Spec

LINES, PLANES, VOLUMES = normal(2, 3, 11), normal(2, 3, 7, 11), normal(2, 3, 5, 3, 7)


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d."""
    yield Spec(
        Conv1d,
        [
            Case(Conv1d(3, 5, 3), LINES, id="plain"),
            Case(Conv1d(3, 5, 3, bias=False), LINES, id="no-bias"),
            Case(Conv1d(3, 2, 1), LINES, id="one-tap"),
            Case(Conv1d(3, 2, 11), LINES, id="one-window"),
            Case(Conv1d(3, 2, 4, stride=2), LINES, id="overlapping"),
            Case(Conv1d(3, 2, 2, stride=3), LINES, id="gaps"),
            Case(Conv1d(3, 2, 3, stride=5), LINES, id="unread-rest"),
            Case(Conv1d(3, 2, 3, padding=2), LINES, id="padding"),
            Case(Conv1d(3, 2, 2, padding=3, stride=2), LINES, id="windows-of-padding"),
            Case(Conv1d(3, 2, (3,), stride=(2,), padding=(1,), dilation=(3,)), LINES, id="tuples"),
            Case(Conv1d(3, 2, 3, dilation=4, padding="same"), LINES, id="same"),
            Case(Conv1d(3, 2, 4, dilation=3, padding="same"), LINES, id="same-even"),
            Case(Conv1d(3, 2, 3, padding="valid", stride=2), LINES, id="valid"),
            Case(Conv1d(6, 4, 3, padding=1, groups=2), normal(2, 6, 7), id="groups"),
            Case(Conv1d(3, 6, 3, stride=2, groups=3, bias=False), LINES, id="depthwise"),
            Case(Conv1d(3, 2, 3, padding=2, padding_mode="reflect"), LINES, id="reflect"),
            Case(Conv1d(3, 2, 3, padding=5, stride=2, padding_mode="replicate"), LINES, id="replicate"),
            Case(Conv1d(3, 2, 2, padding=4, dilation=3, padding_mode="circular"), LINES, id="circular"),
            Case(Conv1d(3, 2, 4, padding="same", padding_mode="circular", bias=False), LINES, id="same-circular"),
            Case(Conv1d(3, 2, 3, padding="valid", padding_mode="reflect"), LINES, id="valid-reflect"),
            Case(Conv1d(3, 2, 3, padding=-2, padding_mode="replicate"), LINES, id="cropped"),
            Case(Conv1d(3, 5, 3, padding=1), normal(3, 11), id="unbatched"),
            Case(Conv1d(3, 6, 2, stride=2, padding=3, groups=3, padding_mode="circular"), normal(3, 7), id="circular-line"),
            Case(Conv1d(1, 2, 101, stride=2), normal(3, 1, 601), id="several-blocks"),
            Case(Conv1d(1, 1, 2), exactly([[[1.0, 2.0, -1.0]]]), id="lecture"),
        ],
    )
    yield Spec(
        Conv2d,
        [
            Case(Conv2d(3, 5, 3), PLANES, id="plain"),
            Case(Conv2d(3, 5, 3, bias=False), PLANES, id="no-bias"),
            Case(Conv2d(3, 2, 1), PLANES, id="one-tap"),
            Case(Conv2d(3, 2, (7, 11)), PLANES, id="one-window"),
            Case(Conv2d(3, 2, (2, 5)), PLANES, id="oblong"),
            Case(Conv2d(3, 2, (3, 1), padding=(1, 0)), PLANES, id="column"),
            Case(Conv2d(3, 2, (1, 4), stride=(1, 2)), PLANES, id="row"),
            Case(Conv2d(3, 5, 3, padding=1, stride=2), PLANES, id="overlapping"),
            Case(Conv2d(3, 5, 2, stride=(3, 1), padding=(0, 2)), PLANES, id="gaps"),
            Case(Conv2d(3, 5, 3, stride=(1, 3), dilation=(2, 1)), PLANES, id="strided-rows"),
            Case(Conv2d(3, 2, 2, padding=3, dilation=(3, 2)), PLANES, id="dilation"),
            Case(Conv2d(3, 2, 2, padding=(4, 3), stride=2), PLANES, id="windows-of-padding"),
            Case(Conv2d(3, 2, (4, 3), dilation=(1, 2), padding="same"), PLANES, id="same-even"),
            Case(Conv2d(3, 2, 3, padding="valid", stride=(2, 3)), PLANES, id="valid"),
            Case(Conv2d(6, 4, 3, padding=1, groups=2), normal(2, 6, 5, 7), id="groups"),
            Case(Conv2d(6, 4, (2, 3), stride=2, groups=2, bias=False), normal(2, 6, 5, 7), id="groups-strided"),
            Case(Conv2d(3, 6, 3, padding=1, groups=3), PLANES, id="depthwise"),
            Case(Conv2d(2, 7, 3, padding=2), normal(3, 2, 5, 7), id="few-channels"),
            Case(Conv2d(3, 2, 3, padding=(2, 1), padding_mode="reflect"), PLANES, id="reflect"),
            Case(Conv2d(3, 2, (2, 3), padding=(3, 1), stride=2, padding_mode="replicate"), PLANES, id="replicate"),
            Case(Conv2d(3, 6, 3, padding=2, dilation=2, groups=3, padding_mode="circular"), PLANES, id="circular"),
            Case(Conv2d(3, 2, (2, 4), padding="same", padding_mode="reflect"), PLANES, id="same-reflect"),
            Case(Conv2d(3, 2, 2, padding=(-1, 2), padding_mode="circular"), PLANES, id="cropped"),
            Case(Conv2d(3, 5, 3, padding=1), normal(3, 5, 7), id="unbatched"),
            Case(Conv2d(3, 2, 3, stride=2, padding=2, padding_mode="reflect", bias=False), normal(3, 5, 7), id="reflect-image"),
            Case(Conv2d(1, 2, (2, 53), dilation=(2, 1)), normal(3, 1, 5, 301), id="several-blocks"),
        ],
    )
    yield Spec(
        Conv3d,
        [
            Case(Conv3d(3, 2, 2), VOLUMES, id="plain"),
            Case(Conv3d(3, 5, 3, padding=1, bias=False), VOLUMES, id="padding"),
            Case(Conv3d(3, 2, (2, 3, 1), stride=(2, 1, 3), padding=(0, 2, 1)), VOLUMES, id="tuples"),
            Case(Conv3d(3, 2, (3, 1, 2), stride=(1, 2, 1), dilation=(2, 1, 3)), VOLUMES, id="dilation"),
            Case(Conv3d(3, 2, (2, 3, 4), dilation=(3, 1, 1), padding="same"), VOLUMES, id="same-even"),
            Case(Conv3d(6, 4, 2, stride=2, padding=1, groups=2), normal(2, 6, 3, 2, 5), id="groups"),
            Case(Conv3d(2, 6, (1, 2, 3), groups=2, padding="valid"), normal(3, 2, 3, 2, 5), id="depthwise"),
            Case(Conv3d(3, 2, 2, padding=(2, 1, 3), stride=2, padding_mode="reflect"), VOLUMES, id="reflect"),
            Case(Conv3d(3, 2, (2, 3, 3), padding=1, padding_mode="replicate"), VOLUMES, id="replicate"),
            Case(Conv3d(3, 3, 2, padding=(1, 3, 2), groups=3, padding_mode="circular"), VOLUMES, id="circular"),
            Case(Conv3d(3, 2, 2, padding=1), normal(3, 2, 3, 5), id="unbatched"),
        ],
    )
    yield Spec(
        ConvTranspose1d,
        [
            Case(ConvTranspose1d(3, 5, 3), LINES, id="plain"),
            Case(ConvTranspose1d(3, 5, 3, bias=False), LINES, id="no-bias"),
            Case(ConvTranspose1d(3, 2, 1, stride=2), LINES, id="one-tap"),
            Case(ConvTranspose1d(3, 2, 4, stride=3), LINES, id="overlapping"),
            Case(ConvTranspose1d(3, 2, 2, stride=5), LINES, id="gaps"),
            Case(ConvTranspose1d(3, 2, 3, padding=2), LINES, id="padding"),
            Case(ConvTranspose1d(3, 2, 4, stride=2, padding=5), LINES, id="wide-padding"),
            Case(ConvTranspose1d(3, 2, 3, stride=3, output_padding=2), LINES, id="output-padding"),
            Case(ConvTranspose1d(3, 2, 2, stride=3, padding=1, output_padding=2), LINES, id="padding-given-back"),
            Case(ConvTranspose1d(3, 2, 3, dilation=3, output_padding=2), LINES, id="output-padding-dilation"),
            Case(ConvTranspose1d(3, 2, (3,), (2,), (1,), (1,), dilation=(2,)), LINES, id="tuples"),
            Case(ConvTranspose1d(6, 4, 3, stride=2, groups=2), normal(2, 6, 7), id="groups"),
            Case(ConvTranspose1d(3, 6, 3, padding=1, groups=3, bias=False), LINES, id="depthwise"),
            Case(ConvTranspose1d(3, 2, 3, stride=3, padding=1), LINES, options={"output_size": (33,)}, id="output-size"),
            Case(ConvTranspose1d(3, 2, 3, stride=2), LINES, options={"output_size": [2, 2, 24]}, id="whole-output-size"),
            Case(ConvTranspose1d(3, 2, 3, stride=2), normal(3, 5), options={"output_size": (2, 12)}, id="output-size-line"),
            Case(ConvTranspose1d(3, 5, 3), normal(3, 7), id="unbatched"),
            Case(ConvTranspose1d(1, 2, 101, stride=2, padding=3), normal(3, 1, 251), id="several-blocks"),
            Case(ConvTranspose1d(1, 1, 2, stride=2), exactly([[[1.0, -2.0]]]), id="lecture"),
        ],
    )
    yield Spec(
        ConvTranspose2d,
        [
            Case(ConvTranspose2d(3, 5, 3), PLANES, id="plain"),
            Case(ConvTranspose2d(3, 2, 3, padding=1, bias=False), PLANES, id="padding"),
            Case(ConvTranspose2d(3, 2, (4, 2), stride=(2, 1)), PLANES, id="overlapping"),
            Case(ConvTranspose2d(3, 2, (1, 2), stride=3, padding=(2, 1)), PLANES, id="gaps"),
            Case(ConvTranspose2d(3, 2, 3, stride=(1, 2), output_padding=(0, 1)), PLANES, id="strided-rows"),
            Case(ConvTranspose2d(3, 2, 2, padding=1, dilation=(3, 2), output_padding=(2, 1)), PLANES, id="dilation"),
            Case(ConvTranspose2d(3, 2, 3, stride=2, padding=2, output_padding=1, dilation=2), PLANES, id="everything"),
            Case(ConvTranspose2d(6, 4, 3, stride=2, padding=1, groups=2), normal(2, 6, 3, 5), id="groups"),
            Case(ConvTranspose2d(3, 6, (2, 3), groups=3, bias=False), PLANES, id="depthwise"),
            Case(ConvTranspose2d(7, 2, 3), normal(3, 7, 3, 5), id="few-channels"),
            Case(ConvTranspose2d(3, 2, 3, stride=(2, 3)), PLANES, options={"output_size": (16, 35)}, id="output-size"),
            Case(ConvTranspose2d(3, 2, 2, stride=2), normal(3, 3, 5), id="unbatched"),
        ],
    )
    yield Spec(
        ConvTranspose3d,
        [
            Case(ConvTranspose3d(3, 2, 2), VOLUMES, id="plain"),
            Case(ConvTranspose3d(3, 5, (2, 3, 1), stride=(2, 1, 3), padding=(1, 2, 0)), VOLUMES, id="tuples"),
            Case(ConvTranspose3d(3, 2, 2, stride=2, output_padding=(1, 0, 1), bias=False), VOLUMES, id="output-padding"),
            Case(ConvTranspose3d(3, 2, 2, dilation=(1, 3, 2), padding=1, output_padding=(0, 2, 1)), VOLUMES, id="dilation"),
            Case(ConvTranspose3d(6, 4, 3, stride=2, groups=2), normal(2, 6, 2, 1, 3), id="groups"),
            Case(ConvTranspose3d(3, 2, 2, stride=3), VOLUMES, options={"output_size": (14, 9, 22)}, id="output-size"),
            Case(ConvTranspose3d(3, 2, 2, stride=2, padding=1), normal(3, 2, 3, 5), id="unbatched"),
        ],
    )

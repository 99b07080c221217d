"""Cases of Graph: one path, several paths, fan-out; its twin is a module that applies its parts' twins."""

from collections.abc import Iterator
from typing import Any

from refbp.cases.container import noise_of_parts
from refbp.draws import exactly, labels, normal, signed
from refbp.hookspecs import hookimpl
from refbp.layers.graph import Graph
from refbp.spec import Case, Spec


def _twin(layer: Any) -> Any:
    """The same values by the same names, each from a part's twin; autograd adds up by itself."""
    import torch

    from refbp import registry
    from refbp.conformance import twin

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for use in layer.uses:
                self.add_module(use.name, twin.of(use.layer))

        def forward(self, *inputs: Any) -> Any:
            dtype = next((a.dtype for a in inputs if a.is_floating_point()), torch.float64)
            values = {n: torch.tensor(v, dtype=dtype) for n, v in layer.fixed.items()}
            values |= dict(zip(layer.leaves, inputs, strict=True))
            for use in layer.uses:
                spec = registry.current().get(type(use.layer).__name__).spec
                outputs = twin.call(spec, self.get_submodule(use.name), [values[n] for n in use.inputs], {})
                values |= dict(zip(use.outputs, outputs, strict=False))
            return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return Module()


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Graph."""
    yield Spec(
        Graph,
        [
            Case(Graph("x = Sigmoid(s); z = Tanh(x)"), normal(), id="one-path"),
            Case(Graph("x = Sigmoid(s); y = Tanh(s); z = x * y"), normal(), id="several-paths"),
            Case(Graph("u = Tanh(s); v = u * u; w = u + v; z = w * v - 2 * s / (s ** 2 + 1.5)"), normal(3), id="fan-out"),
            Case(Graph("h = Linear(3, 3)(x); y = x + Tanh(h)"), normal(5, 3), id="residual"),
            Case(Graph("h = BatchNorm1d(3, training=False)(x); y = -h @ Linear(3, 2)(x)"), normal(3, 3), id="buffers"),
            Case(Graph("y, h = GRU(3, 2)(x)"), normal(5, 3), id="two-outputs"),
            Case(Graph("y, h = GRU(3, 2)(x); z = y * 2"), normal(5, 3), id="one-output-unused"),
            Case(Graph("a = x / y; C = CrossEntropyLoss(a, t)"), normal(5, 3), signed(5, 3), labels(5, classes=3), id="loss"),
            Case(Graph("y = Softmax(x, dim=1) * x"), exactly([[0.0, 0.0, 1.0]]), id="keyword"),
            Case(Graph("h = Dropout(0.3)(x); y = h * Dropout(0.7)(x)"), normal(5, 3), id="noise"),
            Case(Graph("y = TransformerEncoderLayer(6, 2, 5, 0.3)(x)"), normal(2, 3, 6), id="several-noises-of-a-layer"),
        ],
        twin=_twin,
        noise=noise_of_parts,
    )

"""Contexts, and the pass backward."""


class Context:
    def __init__(self, no_grad=False):
        self.no_grad, self.kept = no_grad, ()

    def save_for_backward(self, *values):
        self.kept = values

    @property
    def saved_values(self):
        return self.kept[0] if len(self.kept) == 1 else self.kept


class FunctionBase:
    @classmethod
    def apply(cls, *inputs):
        ctx = Context()
        return cls.made(cls.forward(ctx, *[i.data for i in inputs]), (cls, ctx, inputs))


def topological_sort(variable):
    order, seen = [], set()

    def visit(v):
        if id(v) not in seen:
            seen.add(id(v))
            for used in v.history[2] if v.history else ():
                visit(used)
            order.insert(0, v)

    visit(variable)
    return order


def backpropagate(variable, deriv):
    arrived = {id(variable): deriv}
    for v in topological_sort(variable):
        v.derivative = arrived[id(v)]
        if v.history:
            function, ctx, inputs = v.history
            found = function.backward(ctx, v.derivative)
            for used, d in zip(inputs, found if isinstance(found, tuple) else (found,), strict=True):
                arrived[id(used)] = arrived.get(id(used), 0.0) + d

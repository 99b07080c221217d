"""Numbers that remember where they come from."""

from .autodiff import FunctionBase, backpropagate


class Scalar:
    def __init__(self, v, history=None):
        self.data, self.history, self.derivative = float(v), history, None

    def backward(self, d_output=None):
        backpropagate(self, 1.0 if d_output is None else d_output)


class ScalarFunction(FunctionBase):
    made = Scalar


class Add(ScalarFunction):
    @staticmethod
    def forward(ctx, a, b):
        return a + b

    @staticmethod
    def backward(ctx, d):
        return d, d


class Mul(ScalarFunction):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, d):
        a, b = ctx.saved_values
        return d * b, d * a


class Log(ScalarFunction):
    @staticmethod
    def forward(ctx, a):
        import math

        ctx.save_for_backward(a)
        return math.log(a + 1e-6)

    @staticmethod
    def backward(ctx, d):
        return d / ctx.saved_values


class Inv(ScalarFunction):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return 1 / (a + 1e-6)

    @staticmethod
    def backward(ctx, d):
        a = ctx.saved_values
        return -d / (a * a + 1e-6)

"""An exception whose message does not end well, of a class that lies about its name."""


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


class Meta(type):
    __name__ = property(lambda cls: 1 / 0)


class Nasty(Exception, metaclass=Meta):
    def __str__(self):
        raise SystemExit(0)


def affine_backward(dout, cache):
    raise Nasty

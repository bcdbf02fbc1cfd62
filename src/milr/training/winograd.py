"""3x3 convolutions by Winograd's minimal filtering: about a third of the products (Lavin and Gray 2016).

torch computes a 3x3 convolution on a CPU product by product, close to what the processor can do: only fewer products
are faster. Values and gradients are the same but for rounding. On a GPU its library chooses such ways by itself.

It pays on a CPU, in float32, from 128 channels on: a training's forward and backward passes are then 1.3 to 1.4 times
as fast (docs/performance.md). It is the one place of milr with numerics made by hand: `train.winograd=false` leaves
everything to torch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

POINTS = (0.0, 1.0, -1.0, 2.0, -0.5)  # where a tile's polynomials are evaluated; of those in use these round least
EDGES = (2, 3, 4)  # of a tile of results: larger ones save little more, and round more
CHANNELS = 128  # with fewer, changing the tiles takes as long as the products that are saved


class FewerProducts(TorchFunctionMode):
    """While it is on (`with FewerProducts():`), every `torch.conv2d` that `fits` is computed by `convolve`.

    A checkpointed layer (`torch.utils.checkpoint`) is computed again in the backward pass, where it must be on, too.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in place of each of its functions: passes on all but `torch.conv2d`."""
        kwargs = kwargs or {}
        return conv2d(*args, **kwargs) if func is torch.conv2d else func(*args, **kwargs)


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, *how: Any, **named: Any) -> Tensor:
    """As `torch.conv2d`, by `convolve` where that fits."""
    if not fits(input, weight, *how, **named):
        return torch.conv2d(input, weight, bias, *how, **named)
    result: Tensor = Convolution.apply(input, weight)
    return result if bias is None else result + bias[:, None, None]


def fits(input: Tensor, weight: Tensor, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> bool:
    """Whether it is a 3x3 convolution that keeps the picture's size, of channels enough to gain by it."""
    keeps_size = all(value in (1, (1, 1), [1, 1]) for value in (stride, padding, dilation, groups))
    return keeps_size and weight.shape[2:] == (3, 3) and min(weight.shape[:2]) >= CHANNELS and input.ndim == 4


class Convolution(torch.autograd.Function):
    """`convolve` and its gradients: `Convolution.apply(images [K, C, H, W], weight [D, C, 3, 3])` -> [K, D, H, W]."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        """The result, and what `backward` needs: the weight, and the tiles' values where the weight is trained."""
        result, values = convolve(images, weight)
        ctx.save_for_backward(values if ctx.needs_input_grad[1] else None, weight)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of the images (a convolution with the weight turned around) and of the weight."""
        values, weight = ctx.saved_tensors
        to_images, to_weight = ctx.needs_input_grad
        turned = weight.flip(2, 3).transpose(0, 1)
        return (
            convolve(gradient, turned)[0] if to_images else None,
            weight_gradient(values, gradient) if to_weight else None,
        )


def convolve(images: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Images [K, C, H, W] with weight [D, C, 3, 3] -> the result [K, D, H, W], and the tiles' values at the points.

    A tile d of (m + 2)² pixels and a filter g give m² results Y = Aᵀ [(G g) * (B d)], with the matrices of
    `transforms`, which change rows and columns at once (Lavin and Gray 2016, eq. 8).
    """
    (count, channels, height, width), filters = images.shape, weight.shape[0]
    edge, rows, columns = tiling(height, width)
    back, of_filter, of_tile = transforms(edge, images.dtype, images.device)
    # 1. The tiles overlap by two pixels and begin one pixel outside of the image: values [tiles, (m + 2)², C].
    below, right = rows * edge - height + 1, columns * edge - width + 1
    padded = pad(images.permute(0, 2, 3, 1), (0, 0, 1, right, 1, below))
    values = of_tile @ tiles(padded, edge + 2, edge)
    # 2. The filters at the same points: [(m + 2)², C, D].
    filtered = (of_filter @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(-1, channels, filters)
    # 3. The sum over channels is a product of matrices at each point: most of the time is spent here.
    products = values.new_empty(len(values), len(filtered), filters)
    torch.bmm(values.transpose(0, 1), filtered, out=products.transpose(0, 1))
    # 4. Back from the points to the results, and from the tiles to images.
    result = (back.T @ products).view(count, rows, columns, edge, edge, filters)
    result = result.transpose(2, 3).reshape(count, rows * edge, columns * edge, filters)[:, :height, :width]
    return result.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last), values


def weight_gradient(values: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of `convolve`'s weight [D, C, 3, 3], from its values and the result's gradient [K, D, H, W]."""
    (_, filters, height, width), channels = gradient.shape, values.shape[-1]
    edge, rows, columns = tiling(height, width)
    back, of_filter, _ = transforms(edge, gradient.dtype, gradient.device)
    padded = pad(gradient.permute(0, 2, 3, 1), (0, 0, 0, columns * edge - width, 0, rows * edge - height))
    points = back @ tiles(padded, edge, edge)
    filtered = torch.bmm(values.permute(1, 2, 0), points.transpose(0, 1))  # [(m + 2)², C, D]
    return (of_filter.T @ filtered.flatten(1)).view(3, 3, channels, filters).permute(3, 2, 0, 1)


def tiling(height: int, width: int) -> tuple[int, int, int]:
    """The tiles' edge m that takes the fewest products, and how many rows and columns of tiles cover the image."""
    covers = [(edge, -(-height // edge), -(-width // edge)) for edge in EDGES]
    return min(covers, key=lambda cover: cover[1] * cover[2] * (cover[0] + 2) ** 2)


def tiles(images: Tensor, size: int, step: int) -> Tensor:
    """Squares of `size` pixels, one every `step` pixels: [K, H, W, C] -> [K · rows · columns, size², C]."""
    squares = images.unfold(1, size, step).unfold(2, size, step)  # [K, rows, columns, C, size, size]
    return squares.permute(0, 1, 2, 4, 5, 3).reshape(-1, size * size, images.shape[-1])


@cache
def transforms(edge: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A [(m + 2)², m²], G [(m + 2)², 9] and B [(m + 2)², (m + 2)²] for tiles of m x m results, of two dimensions each.

    A and G evaluate polynomials of m and of 3 coefficients at m + 2 points, the last of them infinity: multiplying the
    values there multiplies the polynomials. B, the inverse transposed of the same for m + 2 coefficients, turns this
    around, from products of polynomials to sliding sums (Toom and Cook; Winograd 1980).
    """

    def evaluate(coefficients: int) -> Tensor:
        """The matrix [m + 2, coefficients] that takes a polynomial's coefficients to its values at the points."""
        finite = [[point**power for power in range(coefficients)] for point in POINTS[: edge + 1]]
        return torch.tensor([*finite, [0.0] * (coefficients - 1) + [1.0]], dtype=torch.float64)

    matrices = evaluate(edge), evaluate(3), torch.linalg.inv(evaluate(edge + 2)).T.contiguous()
    back, of_filter, of_tile = (torch.kron(matrix, matrix).to(device, dtype) for matrix in matrices)
    return back, of_filter, of_tile

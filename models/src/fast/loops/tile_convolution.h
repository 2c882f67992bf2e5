// Convolutions of few channels in bfloat16 by tiles (AMX). Part of loops.cpp.
#if defined(__AMX_BF16__)

// Computes R rows of pixels and one tile of outputs. x points to the first row under the kernel. In the cutout, rows are `row`
// numbers apart and pixels `pixel`. The inputs of one pixel and one row of the kernel are contiguous. Their last tile may read
// beyond the row: those numbers are of the same cutout and are multiplied by zero.
template <int R>
inline void convolve_rows(const bf16 *x, size_t row, size_t pixel, size_t kernel, size_t tiles, const bf16 *weight,
                          size_t weight_row, const float *bias, float *sums) {
    _tile_loadd(0, bias, 0);
    if constexpr (R > 1) _tile_loadd(1, bias, 0);
    if constexpr (R > 2) {
        _tile_loadd(2, bias, 0);
        _tile_loadd(3, bias, 0);
    }
    for (size_t tap = 0; tap < kernel; tap++, x += row)
        for (size_t k = 0; k < tiles; k++, weight += TILE * weight_row) {
            const bf16 *here = x + k * TILE_INPUTS;
            _tile_loadd(6, weight, 2 * weight_row);
            _tile_loadd(4, here, 2 * pixel);
            _tile_dpbf16ps(0, 4, 6);
            if constexpr (R > 1) {
                _tile_loadd(5, here + row, 2 * pixel);
                _tile_dpbf16ps(1, 5, 6);
            }
            if constexpr (R > 2) {
                _tile_loadd(4, here + 2 * row, 2 * pixel);
                _tile_dpbf16ps(2, 4, 6);
                _tile_loadd(5, here + 3 * row, 2 * pixel);
                _tile_dpbf16ps(3, 5, 6);
            }
        }
    _tile_stored(0, sums, 64);
    if constexpr (R > 1) _tile_stored(1, sums + TILE * TILE, 64);
    if constexpr (R > 2) {
        _tile_stored(2, sums + 2 * TILE * TILE, 64);
        _tile_stored(3, sums + 3 * TILE * TILE, 64);
    }
}

// A convolution of few channels and a ReLU, as `convolve_few` of convolution.h. The scratch has room for one more row of a tile
// of inputs at its end.
void convolve_by_tiles(bf16 *x, size_t x_row, size_t batch, const HubbleflowConv *c, bf16 *cutout) {
    const size_t side = c->side, inputs = round_up(c->channels, 2), margin = c->kernel / 2;
    const size_t row = (side + 2 * margin) * inputs, tiles = (c->kernel * inputs + TILE_INPUTS - 1) / TILE_INPUTS;
    const size_t outputs = round_up(c->channels, TILE);
    alignas(64) float sums[4 * TILE * TILE];
    size_t shaped = 0;
    for (; batch > 0; batch--, x += side * side * x_row) {
        fill_cutout(x, x_row, side, margin, c->channels, inputs, cutout);
        written();
        for (size_t u = 0; u < side; u += TILE) {
            const size_t pixels = at_most(TILE, side - u);
            if (pixels != shaped) shape_each(shaped = pixels);
            for (size_t v = 0; v < side;) {
                const size_t rows = side - v >= 4 ? 4 : side - v >= 2 ? 2 : 1;
                auto convolve = rows == 4 ? convolve_rows<4> : rows == 2 ? convolve_rows<2> : convolve_rows<1>;
                for (size_t out = 0; out < outputs; out += TILE) {
                    const bf16 *weight = static_cast<const bf16 *>(c->weight) + 2 * out;
                    convolve(cutout + v * row + u * inputs, row, inputs, c->kernel, tiles, weight, 2 * outputs, c->bias + out,
                             sums);
                    for (size_t r = 0; r < rows; r++)
                        for (size_t p = 0; p < pixels; p++)
                            store(x + ((v + r) * side + u + p) * x_row + out,
                                  most(V{}, load(sums + (r * TILE + p) * TILE)), c->channels - out);
                }
                v += rows;
            }
        }
    }
    _tile_release();
}
#endif

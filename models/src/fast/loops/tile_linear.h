// Linear layers in bfloat16 by tiles (AMX). Part of loops.cpp.
#if defined(__AMX_BF16__)

// sums [R * 16][ACROSS] = x W^T + b, for N tiles of outputs. The inputs are `tiles` whole tiles and one more, `rest`, unless it
// is null. The vector units are idle while tiles are multiplied, so `meanwhile` is called after each tile of inputs.
template <int R, int N, class Meanwhile>
inline void tile_sums(const bf16 *x, size_t x_row, size_t tiles, const bf16 *rest, const bf16 *weight, const float *bias,
                      float *sums, Meanwhile meanwhile) {
    // A stride of zero repeats the bias in all rows.
    _tile_loadd(0, bias, 0);
    if constexpr (N > 1) _tile_loadd(1, bias + TILE, 0);
    if constexpr (R > 1) {
        _tile_loadd(2, bias, 0);
        if constexpr (N > 1) _tile_loadd(3, bias + TILE, 0);
    }
    for (size_t k = 0; k < tiles; k++, weight += N * TILE * TILE_INPUTS) {
        add_tiles<R, N>(x + k * TILE_INPUTS, x_row, weight);
        meanwhile();
    }
    if (rest) add_tiles<R, N>(rest, TILE_INPUTS, weight);
    store_tiles<R, N>(sums);
}

// Rows that go through all panels before the next rows do: their inputs and a panel of weights fit into the first-level cache.
constexpr size_t TILE_BLOCK = 64;

// Activations, as types.
struct Identity {
    static V of(V x) { return x; }
};
struct Relu {
    static V of(V x) { return most(V{}, x); }
};
struct Gelu {
    __attribute__((always_inline)) static V of(V x) { return Of<bf16>::gelu(x); }
};

// Sums that are computed and not written yet: y = After::of(sums + other), for `rows` rows of up to ACROSS outputs.
template <class After> struct Unwritten {
    const float *sums;
    size_t rows;
    const bf16 *other;
    bf16 *y;
    size_t y_row, outputs;

    // Writes the next rows, up to `some` of them.
    inline __attribute__((always_inline)) void write(size_t some) {
        for (; some > 0 && rows > 0; some--, rows--, sums += ACROSS, y += y_row) {
            for (size_t o = 0; o < outputs; o += LANES) {
                V sum = load(sums + o);
                if (other) sum += load(other + o, outputs - o);
                store(y + o, After::of(sum), outputs - o);
            }
            if (other) other += y_row;
        }
    }
};

// The layer and its activation.
template <class After>
void linear_with(const HubbleflowLinear *l, const bf16 *x, size_t rows, const bf16 *other, bf16 *y, size_t y_row) {
    const size_t tiles = l->inputs / TILE_INPUTS, left = l->inputs % TILE_INPUTS;
    // A copy of the last inputs if they do not fill a tile: the numbers behind them belong to the next row and may be NaN.
    alignas(64) bf16 rest[TILE_BLOCK * TILE_INPUTS] = {};
    alignas(64) float sums[2][ACROSS * ACROSS];
    Unwritten<After> before = {nullptr, 0, nullptr, nullptr, 0, 0};
    const size_t at_once = (ACROSS + tiles) / (tiles + 1) + 1;
    size_t shaped = 0, turn = 0;
    for (size_t row = 0; row < rows; row += TILE_BLOCK) {
        const size_t block = at_most(TILE_BLOCK, rows - row);
        const bf16 *from = x + row * l->inputs;
        for (size_t r = 0; left > 0 && r < block; r++)
            memcpy(rest + r * TILE_INPUTS, from + (r + 1) * l->inputs - left, left * sizeof *rest);
        written();
        for (size_t out = 0; out < l->outputs; out += ACROSS)
            for (size_t r = 0; r < block; r += ACROSS, turn ^= 1) {
                const size_t some = at_most(ACROSS, block - r), to = (row + r) * y_row + out;
                if (some != shaped) shape_two(shaped = some);
                const bf16 *weight = static_cast<const bf16 *>(l->weight) + out * round_up(l->inputs, TILE_INPUTS);
                auto sum = [&](auto sum) {
                    sum(from + r * l->inputs, l->inputs, tiles, left > 0 ? rest + r * TILE_INPUTS : nullptr, weight,
                        l->bias + out, sums[turn], [&] { before.write(at_once); });
                };
                const bool two = l->outputs - out > TILE;
                if (some > TILE && two) sum([](auto... a) { tile_sums<2, 2>(a...); });
                else if (some > TILE) sum([](auto... a) { tile_sums<2, 1>(a...); });
                else if (two) sum([](auto... a) { tile_sums<1, 2>(a...); });
                else sum([](auto... a) { tile_sums<1, 1>(a...); });
                before.write(before.rows);
                before = {sums[turn], some, other ? other + to : other, y + to, y_row, at_most(ACROSS, l->outputs - out)};
            }
    }
    before.write(before.rows);
    _tile_release();
}

// The template `linear` of linear.h for bfloat16.
template <>
void linear(const HubbleflowLinear *l, const bf16 *x, size_t rows, const bf16 *other, bf16 *y, size_t y_row,
            size_t activation) {
    auto layer = linear_with<Identity>;
    if (activation == HUBBLEFLOW_RELU) layer = linear_with<Relu>;
    if (activation == HUBBLEFLOW_GELU) layer = linear_with<Gelu>;
    layer(l, x, rows, other, y, y_row);
}
#endif

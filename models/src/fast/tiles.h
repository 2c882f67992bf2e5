// Products of tiles of bfloat16, where the processor multiplies them (AMX). A part of loops.cpp.
//
// | tiles | rows | columns |
// |---|---|---|
// | 0 to 3: sums | 16 rows of the inputs | 16 outputs, float32 |
// | 4, 5: inputs | 16 rows | 32 numbers |
// | 6, 7: weights | 16 pairs of inputs | 16 outputs, of each its two numbers |
//
// An instruction takes 16 cycles for 8,192 products, and the tiles that it takes are loaded meanwhile. A row's sums depend
// on no other row: each is taken in the same order, whatever tile the row falls into.
#if defined(__AMX_BF16__)

// Rows of a tile, and its columns of sums.
constexpr size_t TILE = 16;
// Numbers in a row of a tile of inputs.
constexpr size_t TILE_INPUTS = 32;

// The shapes of the tiles, as LDTILECFG takes them.
struct alignas(64) Shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

// Makes the compiler write memory before tiles are loaded: the instructions do not tell the compiler which memory they read.
inline void written() { __asm__ volatile("" ::: "memory"); }

// Sets the number of rows of each tile.
inline void shape(const uint8_t (&rows)[8]) {
    Shapes s = {1, 0, {}, {}, {}};
    for (int tile = 0; tile < 8; tile++) {
        s.rows[tile] = rows[tile];
        // A tile without rows must be without columns.
        s.row_bytes[tile] = rows[tile] > 0 ? 64 : 0;
    }
    written();
    _tile_loadconfig(&s);
}

// Shapes tiles for up to 32 rows, as `linear` uses them: tiles 0, 1 and 4 hold the first 16 rows, tiles 2, 3 and 5 the rest.
inline void shape_two(size_t rows) {
    const uint8_t first = at_most(rows, TILE), second = rows - first;
    shape({first, first, second, second, first, second, TILE, TILE});
}

// Shapes all tiles of sums and inputs for `rows` rows, as `convolve` uses them.
inline void shape_each(size_t rows) {
    const uint8_t r = rows;
    shape({r, r, r, r, r, r, TILE, TILE});
}

// Adds the products of 32 inputs of R tiles of rows and N tiles of outputs; rows are `x_row` numbers apart.
template <int R, int N> inline void add_tiles(const bf16 *x, size_t x_row, const bf16 *weight) {
    constexpr size_t NEXT = N * 64;
    _tile_loadd(4, x, 2 * x_row);
    _tile_loadd(6, weight, NEXT);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (N > 1) {
        _tile_loadd(7, weight + TILE_INPUTS, NEXT);
        _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (R > 1) {
        _tile_loadd(5, x + TILE * x_row, 2 * x_row);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (N > 1) _tile_dpbf16ps(3, 5, 7);
    }
}

// Outputs that two tiles beside each other sum up.
constexpr size_t ACROSS = 2 * TILE;

// The sums of R tiles of rows and N tiles of outputs, to [R * 16][ACROSS].
template <int R, int N> inline void store_tiles(float *sums) {
    _tile_stored(0, sums, 4 * ACROSS);
    if constexpr (N > 1) _tile_stored(1, sums + TILE, 4 * ACROSS);
    if constexpr (R > 1) {
        _tile_stored(2, sums + TILE * ACROSS, 4 * ACROSS);
        if constexpr (N > 1) _tile_stored(3, sums + TILE * ACROSS + TILE, 4 * ACROSS);
    }
}

// sums [R * 16][ACROSS] = x W^T + b, of N tiles of outputs, for `tiles` whole tiles of inputs, and one more, `rest`, unless it is
// null. Vectors are free while tiles are multiplied: `meanwhile` is called for each tile of inputs.
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

// Rows that go through all panels before the next rows do: their inputs and a panel of weights fit into the first cache.
constexpr size_t TILE_BLOCK = 64;

// What follows a layer.
struct Nothing {
    static V of(V x) { return x; }
};
struct Relu {
    static V of(V x) { return most(V{}, x); }
};
struct Gelu {
    __attribute__((always_inline)) static V of(V x) { return Of<bf16>::gelu(x); }
};

// Sums that are not written yet: y = After::of(sums + other), for `rows` rows of up to ACROSS outputs.
template <class After> struct Unwritten {
    const float *sums;
    size_t rows;
    const bf16 *other;
    bf16 *y;
    size_t y_row, outputs;

    // The next rows, as far as they are there.
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

// The layer, and what follows it.
template <class After>
void linear_then(const HubbleflowLinear *l, const bf16 *x, size_t rows, const bf16 *other, bf16 *y, size_t y_row) {
    const size_t tiles = l->inputs / TILE_INPUTS, left = l->inputs % TILE_INPUTS;
    // A copy of the last inputs, where they fill no tile: the numbers behind them belong to the next row, and may be NaN.
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

// Linear layers: the template of linear.h for bfloat16, by tiles.
template <>
void linear(const HubbleflowLinear *l, const bf16 *x, size_t rows, const bf16 *other, bf16 *y, size_t y_row, size_t then) {
    auto layer = then == HUBBLEFLOW_GELU ? linear_then<Gelu> : then == HUBBLEFLOW_RELU ? linear_then<Relu> : linear_then<Nothing>;
    layer(l, x, rows, other, y, y_row);
}

// R rows of P pixels and one tile of outputs of a convolution: x is the first row of the kernel, rows of the cutout are `row`
// apart and pixels `pixel`. A pixel's row of the kernel is one run of numbers, whose last tile reads beyond the row: those
// numbers are of the same cutout, and meet weights of zero.
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

// A convolution of few channels and a ReLU by tiles: see `convolve_few` in loops.cpp. The scratch has room for one more tile's
// row of inputs at its end.
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

// The most tokens that attention by tiles takes, two tiles of them, and the most channels of a head.
constexpr size_t TOKENS_MAX = 2 * TILE, DEPTH_MAX = 128;

// Rows become columns: lane j of vector i goes to lane i of vector j.
inline void transpose(V (&r)[TILE]) {
    V pairs[TILE], fours[TILE];
    for (int i = 0; i < 16; i += 2) {
        pairs[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        pairs[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    }
    // Of vector 4 i + j, quarter q: lane 4 q + j of rows 4 i to 4 i + 3.
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 4; j += 2) {
            const V a = pairs[i + j / 2], b = pairs[i + j / 2 + 2];
            fours[i + j] = __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
            fours[i + j + 1] = __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
        }
    auto even = [](V a, V b) { return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27); };
    auto odd = [](V a, V b) { return __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31); };
    for (int j = 0; j < 4; j++) {
        const V above = even(fours[j], fours[4 + j]), below = even(fours[8 + j], fours[12 + j]);
        r[j] = even(above, below);
        r[8 + j] = odd(above, below);
        const V above_odd = odd(fours[j], fours[4 + j]), below_odd = odd(fours[8 + j], fours[12 + j]);
        r[4 + j] = even(above_odd, below_odd);
        r[12 + j] = odd(above_odd, below_odd);
    }
}

// Working memory for one head's attention. A float holds a pair of bfloat16. Places without a token stay zero.
struct Head {
    // [pair of channels][query]
    alignas(64) float queries[DEPTH_MAX / 2][TOKENS_MAX];
    // [32 channels][pair of keys][channel]
    alignas(64) float values[DEPTH_MAX / 32][TILE][TOKENS_MAX];
    // [key][query]
    alignas(64) float scores[TOKENS_MAX][TOKENS_MAX];
    // [pair of keys][query], and [query][pair of keys]
    alignas(64) float weights[TILE][TOKENS_MAX], by_query[TOKENS_MAX][TILE];
    // [query][channel]
    alignas(64) float mixed[TOKENS_MAX][TOKENS_MAX];
};

// Transposes TILE rows of `from`, the first `columns` of each.
inline void columns_to_rows(const float (*from)[TOKENS_MAX], float (*to)[TILE], size_t columns) {
    V block[TILE];
    for (size_t row = 0; row < TILE; row++) block[row] = load(from[row]);
    transpose(block);
    for (size_t column = 0; column < TILE; column++) store(to[column], block[column]);
    for (size_t column = TILE; column < columns; column++)
        for (size_t row = 0; row < TILE; row++) to[column][row] = from[row][column];
}

// Transposes the queries of a head, whose tokens are `row` numbers apart.
inline void rows_to_columns(const bf16 *q, size_t row, size_t tokens, size_t depth, Head &h) {
    for (size_t pair = 0; pair < depth / 2; pair += TILE) {
        V block[TILE] = {};
        for (size_t token = 0; token < at_most(tokens, TILE); token++) memcpy(&block[token], q + token * row + 2 * pair, 64);
        transpose(block);
        for (size_t i = 0; i < TILE; i++) store(h.queries[pair + i], block[i]);
    }
    for (size_t token = TILE; token < tokens; token++)
        for (size_t pair = 0; pair < depth / 2; pair++) memcpy(&h.queries[pair][token], q + token * row + 2 * pair, 4);
}

// Interleaves the values of two tokens at a time.
inline void pair_values(const bf16 *v, size_t row, size_t tokens, size_t depth, Head &h) {
    for (size_t token = 0; token < tokens; token += 2)
        for (size_t i = 0; i < depth; i += LANES) {
            const bf16 *first = v + token * row + i;
            const U below = bits(load(first)) >> 16, above = token + 1 < tokens ? bits(load(first + row)) : U{};
            store(&h.values[i / 32][token / 2][i % 32], (V)(below | above));
        }
}

// Two tiles of columns of sums, for R tiles of rows, from zero.
template <int R> inline void zero_tiles() {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (R > 1) {
        _tile_zero(2);
        _tile_zero(3);
    }
}

// Attention of one head: R tiles of tokens. Its queries, keys and values are `q`, `q + width` and `q + 2 * width`, tokens `row`
// apart; `mixed` has tokens `mixed_row` apart.
template <int R>
inline void attend_head(const bf16 *q, size_t width, size_t row, size_t tokens, size_t depth, bf16 *mixed, size_t mixed_row,
                        Head &h) {
    rows_to_columns(q, row, tokens, depth, h);
    written();
    zero_tiles<R>();
    for (size_t i = 0; i < depth; i += TILE_INPUTS)
        add_tiles<R, 2>(q + width + i, row, reinterpret_cast<const bf16 *>(h.queries[i / 2]));
    store_tiles<R, 2>(h.scores[0]);
    softmax<bf16>(h.scores[0], h.weights[0], tokens, TOKENS_MAX);
    columns_to_rows(h.weights, h.by_query, tokens);
    pair_values(q + 2 * width, row, tokens, depth, h);
    written();
    for (size_t i = 0; i < depth; i += TILE_INPUTS) {
        zero_tiles<R>();
        add_tiles<R, 2>(reinterpret_cast<const bf16 *>(h.by_query[0]), TILE_INPUTS,
                        reinterpret_cast<const bf16 *>(h.values[i / 32][0]));
        store_tiles<R, 2>(h.mixed[0]);
        for (size_t token = 0; token < tokens; token++)
            for (size_t j = 0; j < TILE_INPUTS; j += LANES)
                store(mixed + token * mixed_row + i + j, load(&h.mixed[token][j]));
    }
}

// Attention by tiles: see `attend` in loops.cpp. For up to TOKENS_MAX tokens, and whole tiles of channels up to DEPTH_MAX.
void attend_by_tiles(const bf16 *qkv, bf16 *mixed, size_t tokens, size_t batch, size_t heads, size_t depth) {
    const size_t width = heads * depth, row = 3 * width * batch, mixed_row = width * batch;
    auto attend = tokens > TILE ? attend_head<2> : attend_head<1>;
    Head h = {};
    shape_two(tokens);
    for (size_t galaxy = 0; galaxy < batch; galaxy++)
        for (size_t head = 0; head < width; head += depth) {
            const bf16 *q = qkv + galaxy * 3 * width + head;
            bf16 *to = mixed + galaxy * width + head;
            // The tokens of one galaxy are far apart: the next galaxy's are fetched meanwhile.
            for (size_t token = 0; token < tokens; token++) {
                for (size_t part = 3; part < 6; part++) prefetch<0>(q + token * row + part * width, depth);
                prefetch<1>(to + token * mixed_row, depth);
            }
            attend(q, width, row, tokens, depth, to, mixed_row, h);
        }
    _tile_release();
}
#endif

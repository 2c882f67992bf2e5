// Attention in bfloat16 by tiles (AMX). Part of loops.cpp.
#if defined(__AMX_BF16__)

// Upper bounds on the tokens (two tiles) and on the channels of a head.
constexpr size_t TOKENS_MAX = 2 * TILE, DEPTH_MAX = 128;

// Transposes a tile: lane j of vector i goes to lane i of vector j.
inline void transpose(V (&r)[TILE]) {
    V pairs[TILE], fours[TILE];
    for (int i = 0; i < 16; i += 2) {
        pairs[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        pairs[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    }
    // Quarter q of vector 4 i + j is lane 4 q + j of rows 4 i to 4 i + 3.
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

// Working memory for the attention of one head. A float holds a pair of bfloat16. Places without a token stay zero.
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

// Sets the sums of R tiles of rows and two tiles of columns to zero.
template <int R> inline void zero_tiles() {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (R > 1) {
        _tile_zero(2);
        _tile_zero(3);
    }
}

// Attention of one head with R tiles of tokens. Queries, keys and values start at `q`, `q + width` and `q + 2 * width`; tokens
// are `row` numbers apart, and `mixed_row` in `mixed`.
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

// Attention as `attend` of attention.h, for up to TOKENS_MAX tokens and whole tiles of up to DEPTH_MAX channels.
void attend_by_tiles(const bf16 *qkv, bf16 *mixed, size_t tokens, size_t batch, size_t heads, size_t depth) {
    const size_t width = heads * depth, row = 3 * width * batch, mixed_row = width * batch;
    auto attend = tokens > TILE ? attend_head<2> : attend_head<1>;
    Head h = {};
    shape_two(tokens);
    for (size_t galaxy = 0; galaxy < batch; galaxy++)
        for (size_t head = 0; head < width; head += depth) {
            const bf16 *q = qkv + galaxy * 3 * width + head;
            bf16 *to = mixed + galaxy * width + head;
            // The tokens of one galaxy are far apart in memory, so the next galaxy's are fetched meanwhile.
            for (size_t token = 0; token < tokens; token++) {
                for (size_t part = 3; part < 6; part++) prefetch<0>(q + token * row + part * width, depth);
                prefetch<1>(to + token * mixed_row, depth);
            }
            attend(q, width, row, tokens, depth, to, mixed_row, h);
        }
    _tile_release();
}
#endif

// Products of tiles of bfloat16, for processors with AMX. Part of loops.cpp.
//
// | tiles | rows | columns |
// |---|---|---|
// | 0 to 3: sums | 16 rows of the inputs | 16 outputs, float32 |
// | 4, 5: inputs | 16 rows | 32 numbers |
// | 6, 7: weights | 16 pairs of inputs | 16 outputs, two numbers each |
//
// An instruction takes 16 cycles for 8,192 products, and the next tiles are loaded meanwhile. The sums of a row do not depend
// on the other rows: they are taken in the same order, whichever tile the row falls into.
#if defined(__AMX_BF16__)

// Rows of a tile, and columns of a tile of sums.
constexpr size_t TILE = 16;
// Numbers in a row of a tile of inputs.
constexpr size_t TILE_INPUTS = 32;

// The shapes of the tiles, in the format of the instruction LDTILECFG.
struct alignas(64) Shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

// Makes the compiler finish its writes before tiles are loaded: the intrinsics do not tell it which memory they read.
inline void written() { __asm__ volatile("" ::: "memory"); }

// Sets the number of rows of each tile.
inline void shape(const uint8_t (&rows)[8]) {
    Shapes s = {1, 0, {}, {}, {}};
    for (int tile = 0; tile < 8; tile++) {
        s.rows[tile] = rows[tile];
        // A tile without rows must have no columns either.
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

// Outputs of two tiles side by side.
constexpr size_t ACROSS = 2 * TILE;

// Stores the sums of R tiles of rows and N tiles of outputs in [R * 16][ACROSS].
template <int R, int N> inline void store_tiles(float *sums) {
    _tile_stored(0, sums, 4 * ACROSS);
    if constexpr (N > 1) _tile_stored(1, sums + TILE, 4 * ACROSS);
    if constexpr (R > 1) {
        _tile_stored(2, sums + TILE * ACROSS, 4 * ACROSS);
        if constexpr (N > 1) _tile_stored(3, sums + TILE * ACROSS + TILE, 4 * ACROSS);
    }
}
#endif

// Linear layers with packed weights: y = activation(x W^T + b + other), [rows, in] to [rows, out]. Part of loops.cpp.
//
// All sums are taken in the same order, whichever tile a row falls into, with fused multiply-adds if the processor has them.
// So the result of a row depends neither on the other rows nor on its place among them.

// Steps that are summed before the sum is added to the total: short sums have small errors. For bfloat16 all steps are summed
// at once, because its rounding errors are larger than those of any sum.
template <class T> constexpr size_t CHUNK = sizeof(T) == 4 ? 128 : SIZE_MAX;

// Vectors of outputs in a panel of weights. With four rows this makes twelve sums, three vectors of weights and an input,
// which fill the sixteen registers of AVX2 with the fewest loads for each product. AVX-512 has twice the registers.
constexpr size_t PANEL = 3;

// Rows of a tile of N vectors: enough sums to hide the latency of a multiply-add.
template <int N> constexpr int tile_rows() { return (N == 3 ? 4 : N == 2 ? 6 : 8) * (LANES == 16 ? 2 : 1); }

// Rows that go through all panels before the next rows do: so few that they stay in the second-level cache, and so many that
// fetching the weights again takes little time beside the products.
constexpr size_t BLOCK = 128;

// y = activation(x W^T + b + other), for R rows and N vectors of outputs. `other` may be null or y.
template <int R, int N, class T>
inline void linear_tile(const T *x, size_t x_row, size_t steps, const T *weight, const float *bias, const T *other,
                        T *y, size_t y_row, size_t there, size_t activation) {
    V sums[R][N];
    for (int r = 0; r < R; r++) {
        // These lines are needed after the products, when they have arrived in the cache.
        for (int o = 0; o < N; o += 64 / sizeof(T) / LANES) {
            __builtin_prefetch(y + r * y_row + o * LANES, 1);
            if (other) __builtin_prefetch(other + r * y_row + o * LANES);
        }
        for (int o = 0; o < N; o++) sums[r][o] = load(bias + o * LANES);
    }
    // If another thread shares the core, instructions are scarce: unrolling spends few on counting.
#pragma GCC unroll 4
    for (size_t i = 0; i < steps; i++) {
        V columns[N];
        for (int o = 0; o < N; o++) columns[o] = column(weight + (i * N + o) * LANES * Step<T>::INPUTS);
        for (int r = 0; r < R; r++)
            for (int o = 0; o < N; o++)
                sums[r][o] = Step<T>::add(sums[r][o], x + r * x_row + i * Step<T>::INPUTS, columns[o]);
    }
    // Unrolled, because the compiler would otherwise keep the sums in memory.
    auto finish = [&](auto after) {
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int o = 0; o < N; o++) {
                const size_t at = r * y_row + o * LANES, n = there - o * LANES;
                V sum = sums[r][o];
                if (other) sum += load(other + at, n);
                store(y + at, after(sum), n);
            }
    };
    // A call inside the loop would have to save all sums to memory, so each activation has its own loop.
    if (activation == HUBBLEFLOW_GELU) finish([](V x) __attribute__((always_inline)) { return Of<T>::gelu(x); });
    else if (activation == HUBBLEFLOW_RELU) finish([](V x) { return most(V{}, x); });
    else finish([](V x) { return x; });
}

// The same for R rows, in chunks of steps.
template <int R, int N, class T>
inline void linear_rows(const HubbleflowLinear *l, size_t out, const T *x, const T *other, T *y, size_t y_row,
                        size_t activation) {
    static const float zeros[PANEL * LANES] = {};
    const T *weight = static_cast<const T *>(l->weight) + out * l->inputs;
    const float *bias = l->bias + out;
    const size_t steps = l->inputs / Step<T>::INPUTS;
    for (size_t first = 0; first < steps;) {
        const size_t some = at_most(CHUNK<T>, steps - first), in = first * Step<T>::INPUTS;
        first += some;
        linear_tile<R, N>(x + in, l->inputs, some, weight + in * N * LANES, bias, other, y, y_row,
                          l->outputs - out, first == steps ? activation : HUBBLEFLOW_IDENTITY);
        bias = zeros;
        other = y;
    }
}

// The outputs of one panel, for `rows` rows.
template <int N, class T>
void linear_panel(const HubbleflowLinear *l, size_t out, const T *x, size_t rows, const T *other, T *y, size_t y_row,
                  size_t activation) {
    constexpr size_t R = tile_rows<N>();
    size_t row = 0;
    auto at = [&](auto tile) {
        const size_t to = row * y_row + out;
        tile(l, out, x + row * l->inputs, other ? other + to : other, y + to, y_row, activation);
    };
    for (; row + R <= rows; row += R) at(linear_rows<R, N, T>);
    for (; row < rows; row++) at(linear_rows<1, N, T>);
}

// The whole layer. Rows of y and of `other` are y_row numbers apart. `other` may be null or y.
template <class T>
void linear(const HubbleflowLinear *l, const T *x, size_t rows, const T *other, T *y, size_t y_row, size_t activation) {
    for (size_t row = 0; row < rows; row += BLOCK)
        for (size_t out = 0; out < l->outputs; out += PANEL * LANES) {
            const size_t left = l->outputs - out, to = row * y_row;
            auto panel = left > 2 * LANES ? linear_panel<3, T> : left > LANES ? linear_panel<2, T> : linear_panel<1, T>;
            panel(l, out, x + row * l->inputs, at_most(BLOCK, rows - row), other ? other + to : other, y + to, y_row,
                  activation);
        }
}

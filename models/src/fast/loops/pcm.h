// The parallel convolution module (PCM): two grouped convolutions on the grid of patches. Part of loops.cpp.

// A convolution of LANES groups on the grid: x [y, margin + x + margin, step], weight [out, y, x, step], where each element
// is a vector with one lane for each group.
struct Grouped {
    size_t grid, kernel, steps, outputs;
    const float *weight, *bias;

    size_t columns() const { return grid + kernel / 2 * 2; }
    // The offset in x of a patch on the grid.
    size_t at(size_t row, size_t column) const { return (row * columns() + kernel / 2 + column) * steps * LANES; }
};

// Computes O outputs, from `out` on, for P patches of a row, and calls write(row, column, step, first sum, last sum) for each
// step of S::INPUTS outputs.
template <int P, int O, class S, class Write>
inline void outputs_at(const Grouped &c, const float *x, size_t row, size_t column, size_t out, Write write) {
    const size_t margin = c.kernel / 2, taps = c.kernel * c.steps, each = c.kernel * taps * LANES;
    // The first row of the kernel that is on the grid, and the end of those rows.
    const size_t first = row < margin ? margin - row : 0, last = at_most(c.kernel, c.grid + margin - row);
    x += ((row + first - margin) * c.columns() + column) * c.steps * LANES;
    V sums[P][O];
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o++) sums[p][o] = load(c.bias + (out + o) * LANES);
    const float *weight = c.weight + out * each + first * taps * LANES;
    for (size_t tap = first; tap < last; tap++, x += c.columns() * c.steps * LANES)
#pragma GCC unroll 4
        for (size_t i = 0; i < taps; i++, weight += LANES)
            for (int p = 0; p < P; p++) {
                V pixel = load(x + (p * c.steps + i) * LANES);
                for (int o = 0; o < O; o++) sums[p][o] = S::add(sums[p][o], pixel, load(weight + o * each));
            }
    constexpr int STEP = S::INPUTS;
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o += STEP) write(row, column + p, (out + o) / STEP, sums[p][o], sums[p][o + STEP - 1]);
}

// The convolution for all patches and outputs.
template <class S, class Write> void convolve_groups(const Grouped &c, const float *x, Write write) {
    constexpr int P = 4;
    for (size_t row = 0; row < c.grid; row++) {
        size_t column = 0;
        auto places = [&](auto two, auto one) {
            size_t out = 0;
            for (; out + 2 <= c.outputs; out += 2) two(c, x, row, column, out, write);
            for (; out < c.outputs; out += S::INPUTS) one(c, x, row, column, out, write);
        };
        for (; column + P <= c.grid; column += P) places(outputs_at<P, 2, S, Write>, outputs_at<P, S::INPUTS, S, Write>);
        for (; column < c.grid; column++) places(outputs_at<1, 2, S, Write>, outputs_at<1, S::INPUTS, S, Write>);
    }
}

// Adds the parallel convolution module to its input, x [patch, batch, step, group, channels of a step]. The inputs of a group
// fill whole steps. Weights are [groups / LANES, out, y, x, step, LANES, channels of a step], biases [groups / LANES, out,
// LANES]. The scratch is zeros; pcm.rs computes its size.
template <class T, class S> void add_pcm(T *x, size_t batch, const HubbleflowPcm &p, float *scratch) {
    const size_t grid = p.grid, taps = p.kernel * p.kernel, width = p.groups * p.inputs;
    const size_t inputs = p.inputs / S::INPUTS, hidden = p.hidden / S::INPUTS;
    // Galaxies that are taken together: so few that their tokens stay in the cache while all groups are computed.
    constexpr size_t TILE = 8;
    for (size_t tile = 0; tile < batch; tile += TILE)
        for (size_t at = 0; at < round_up(p.groups, LANES) * TILE; at += LANES) {
            const size_t group = at / (LANES * TILE) * LANES, galaxy = tile + at / LANES % TILE;
            if (galaxy >= batch) continue;
            const Grouped wide = {grid, p.kernel, inputs, p.hidden, p.widen + group * p.hidden * inputs * taps,
                                  p.widen_bias + group * p.hidden};
            const Grouped thin = {grid, p.kernel, hidden, p.inputs, p.narrow + group * p.inputs * hidden * taps,
                                  p.narrow_bias + group * p.inputs};
            // Columns beside the grid stay zero. Rows above and below the grid are skipped.
            float *patches = scratch, *middle = patches + wide.at(grid, 0);
            const size_t n = (p.groups - group) * S::INPUTS;
            auto in_x = [&](size_t row, size_t column, size_t step) {
                return x + ((row * grid + column) * batch + galaxy) * width + (step * p.groups + group) * S::INPUTS;
            };
            for (size_t row = 0; row < grid; row++)
                for (size_t column = 0; column < grid; column++)
                    for (size_t step = 0; step < inputs; step++)
                        store(patches + wide.at(row, column) + step * LANES, S::lanes(in_x(row, column, step), n));
            convolve_groups<S>(wide, patches, [&](size_t row, size_t column, size_t step, V first, V second) {
                V both = S::together(Of<T>::silu(first), Of<T>::silu(second));
                store(middle + thin.at(row, column) + step * LANES, both);
            });
            convolve_groups<S>(thin, middle, [&](size_t row, size_t column, size_t step, V first, V second) {
                V patch = load(patches + wide.at(row, column) + step * LANES);
                V both = S::together(S::first(patch) + first, S::second(patch) + second);
                S::write(in_x(row, column, step), both, n);
            });
        }
}

// Square convolutions of few channels, in place, followed by a ReLU. Part of loops.cpp.

// Computes P pixels of a row and O vectors of outputs. x points to the first row under the kernel; rows are `row` numbers
// apart. The weight is [y, x, step, O * LANES].
template <int P, int O, class T, class N = typename Step<T>::Number>
inline void pixels(const N *x, size_t row, T *y, size_t y_row, size_t kernel, size_t inputs, size_t outputs,
                   const N *weight, const float *bias) {
    constexpr size_t STEP = Step<T>::INPUTS;
    V sums[P][O];
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o++) sums[p][o] = load(bias + o * LANES);
    for (size_t tap = 0; tap < kernel; tap++, x += row)
        for (size_t i = 0; i < kernel * inputs; i += STEP, weight += O * LANES * STEP) {
            V columns[O];
            for (int o = 0; o < O; o++) columns[o] = column(weight + o * LANES * STEP);
            for (int p = 0; p < P; p++)
                for (int o = 0; o < O; o++) sums[p][o] = Step<T>::add(sums[p][o], x + p * inputs + i, columns[o]);
        }
    for (int p = 0; p < P; p++)
        // Zero is the first argument, so that a NaN stays a NaN.
        for (int o = 0; o < O; o++) store(y + p * y_row + o * LANES, most(V{}, sums[p][o]), outputs - o * LANES);
}

// Copies the channels of one cutout, [y, x, channel] with pixels `x_row` numbers apart, into `cutout`, which has a margin on
// each side and `pixel` numbers (whole steps) a pixel.
template <class T, class N>
inline void fill_cutout(const T *x, size_t x_row, size_t side, size_t margin, size_t channels, size_t pixel, N *cutout) {
    const size_t row = (side + 2 * margin) * pixel;
    for (size_t v = 0; v < side; v++)
        for (size_t u = 0; u < side; u++) {
            const T *from = x + (v * side + u) * x_row;
            N *to = cutout + (v + margin) * row + (u + margin) * pixel;
            for (size_t i = 0; i < channels; i += LANES) store(to + i, load(from + i, channels - i), channels - i);
        }
}

// A convolution of O vectors of channels and a ReLU, in place: [batch, y, x, channel], pixels `x_row` numbers apart. The
// scratch is zeros, for one cutout with the kernel's margin and whole steps of channels.
template <int O, class T>
void convolve_few(T *x, size_t x_row, size_t batch, const HubbleflowConv *c, void *scratch) {
    typedef typename Step<T>::Number N;
    const size_t side = c->side, inputs = round_up(c->channels, Step<T>::INPUTS), margin = c->kernel / 2;
    const size_t row = (side + 2 * margin) * inputs;
    N *cutout = static_cast<N *>(scratch);
    for (; batch > 0; batch--, x += side * side * x_row) {
        fill_cutout(x, x_row, side, margin, c->channels, inputs, cutout);
        for (size_t v = 0; v < side; v++) {
            size_t u = 0;
            auto at = [&](auto some) {
                some(cutout + v * row + u * inputs, row, x + (v * side + u) * x_row, x_row, c->kernel, inputs, c->channels,
                     static_cast<const N *>(c->weight), c->bias);
            };
            // Enough sums to hide the latency of a multiply-add, if the row has that number of pixels.
            constexpr int P = O == 1 ? 8 : 4;
            for (; u + P <= side; u += P) at(pixels<P, O, T>);
            for (; u + 4 <= side; u += 4) at(pixels<4, O, T>);
            for (; u < side; u++) at(pixels<1, O, T>);
        }
    }
}

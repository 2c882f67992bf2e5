// Maximum and mean over neighbouring pixels, and cutouts cut into patches. Part of loops.cpp.

// The maximum over the three by three pixels around each pixel; pixels beyond the edge are left out. [batch, y, x, channel].
template <class T> void maximum_3x3(const T *x, T *y, size_t batch, size_t side, size_t channels) {
    const size_t row = side * channels;
    const V none = all(-__builtin_inff());
    for (; batch > 0; batch--, x += side * row, y += side * row)
        for (size_t v = 0; v < side; v++)
            for (size_t c = 0; c < channels; c += LANES) {
                const size_t n = channels - c;
                auto column = [&](size_t u) {
                    const T *here = x + v * row + u * channels + c;
                    V highest = load(here, n);
                    if (v > 0) highest = most(highest, load(here - row, n));
                    if (v + 1 < side) highest = most(highest, load(here + row, n));
                    return highest;
                };
                V left = none, here = column(0);
                for (size_t u = 0; u < side; u++) {
                    V right = u + 1 < side ? column(u + 1) : none;
                    store(y + v * row + u * channels + c, most(most(left, here), right), n);
                    left = here;
                    here = right;
                }
            }
}

// The mean of each block of two by two pixels: [batch, y, x, channel].
template <class T> void mean_2x2(const T *x, T *y, size_t batch, size_t side, size_t channels) {
    const size_t row = side * channels;
    for (; batch > 0; batch--, x += side * row)
        for (size_t v = 0; v + 1 < side; v += 2)
            for (size_t u = 0; u + 1 < side; u += 2, y += channels)
                for (size_t c = 0; c < channels; c += LANES) {
                    const T *p = x + v * row + u * channels + c;
                    const size_t n = channels - c;
                    V above = load(p, n) + load(p + channels, n);
                    V below = load(p + row, n) + load(p + row + channels, n);
                    store(y + c, (above + below) * 0.25f, n);
                }
}

// Cuts cutouts into patches of px by px pixels: [batch, band, y, x] to [patch, batch, band * px * px].
template <class T> void patches(const T *x, T *y, size_t batch, size_t bands, size_t side, size_t px) {
    const size_t grid = side / px, patch = bands * px * px;
    for (size_t galaxy = 0; galaxy < batch; galaxy++)
        for (size_t band = 0; band < bands; band++)
            for (size_t v = 0; v < side; v++)
                for (size_t u = 0; u < grid; u++, x += px) {
                    T *to = y + ((v / px * grid + u) * batch + galaxy) * patch + (band * px + v % px) * px;
                    if (px == 8) memcpy(to, x, 8 * sizeof(T));
                    else memcpy(to, x, px * sizeof(T));
                }
}

// The mean of each block of two by two pixels, with the bands moved last: [batch, band, y, x] to [batch, y / 2, x / 2, band].
// A pixel has room for whole steps of bands; the places beyond the last band are not written.
template <class T> void pool(const T *x, T *y, size_t batch, size_t bands, size_t side) {
    const size_t half = side / 2, pixel = round_up(bands, Step<T>::INPUTS);
    for (; batch > 0; batch--, y += half * half * pixel)
        for (size_t band = 0; band < bands; band++, x += side * side)
            for (size_t v = 0; v < half; v++)
                for (size_t u = 0; u < half; u += LANES / 2) {
                    const T *p = x + 2 * v * side + 2 * u;
                    V sums = (load(p, side - 2 * u) + load(p + side, side - 2 * u)) * 0.25f;
                    for (size_t i = 0; i < at_most(LANES / 2, half - u); i++)
                        store(y + (v * half + u + i) * pixel + band, all(sums[2 * i] + sums[2 * i + 1]), 1);
                }
}

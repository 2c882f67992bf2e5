// Linear layers of libtorch's that tch cannot call. Those of oneDNN are operators without a C++ interface: weights are packed
// once, and what follows the product is done while it is in the cache. An exception never leaves: each function gives back
// null, or what went wrong, to be freed by the caller.
#include "../cpp.h"

#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_addmm_activation.h>

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <optional>
#include <string>

namespace {

using at::Tensor;
using Bias = std::optional<Tensor>;

template <class Signature>
auto find(const char *name, const char *overload) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

} // namespace

extern "C" {

// The vector instructions that libtorch has found on this CPU.
const char *hubbleflow_capability() {
    static const std::string name = [] {
        try {
            return at::get_cpu_capability();
        } catch (...) {
            return std::string("unknown");
        }
    }();
    return name.c_str();
}

// Whether this processor multiplies tiles of bfloat16: AMX-BF16, a bit of CPUID's leaf 7.
bool hubbleflow_multiplies_tiles() {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & 1 << 22;
#else
    return false;
#endif
}

// `[out, in]` as oneDNN likes it best for inputs of about so many rows.
char *hubbleflow_pack(const Tensor *weight, int64_t rows, Tensor **packed) {
    return error_of([&] {
        static const auto pack =
            find<Tensor(const Tensor &, std::optional<int64_t>)>("mkldnn::_reorder_linear_weight", "");
        *packed = new Tensor(pack.call(*weight, rows));
    });
}

// `then(x W^T + b)`, of `[rows, in]`; `then` is none, relu or gelu.
char *hubbleflow_linear(const Tensor *x, const Tensor *packed, const Tensor *bias, const char *then, Tensor **y) {
    return error_of([&] {
        using Scalars = c10::List<std::optional<at::Scalar>>;
        static const auto linear =
            find<Tensor(const Tensor &, const Tensor &, const Bias &, c10::string_view, Scalars,
                        std::optional<c10::string_view>)>("mkldnn::_linear_pointwise", "");
        // The algorithm is the form of the GELU: its definition, and not the approximation by tanh.
        const char *algorithm = std::strcmp(then, "gelu") == 0 ? "none" : "";
        *y = new Tensor(linear.call(*x, *packed, Bias(*bias), then, Scalars(), algorithm));
    });
}

// `x W^T + b + other`, of `[rows, in]` and `[rows, out]`.
char *hubbleflow_linear_add(const Tensor *x, const Tensor *other, const Tensor *packed, const Tensor *bias,
                            Tensor **y) {
    return error_of([&] {
        static const auto linear =
            find<Tensor(const Tensor &, const Tensor &, const Tensor &, const Bias &, c10::string_view)>(
                "mkldnn::_linear_pointwise", "binary");
        *y = new Tensor(linear.call(*x, *other, *packed, Bias(*bias), "add"));
    });
}

// A ReLU or GELU of `x W^T + b`, of `[rows, in]` and `[out, in]`: on a GPU in one kernel, whose GELU is the approximation by
// tanh. (tch hands `gelu` over as the factor of the bias.)
char *hubbleflow_linear_activation(const Tensor *x, const Tensor *weight, const Tensor *bias, bool gelu, Tensor **y) {
    return error_of([&] { *y = new Tensor(at::_addmm_activation(*bias, *x, weight->t(), 1, 1, gelu)); });
}
}

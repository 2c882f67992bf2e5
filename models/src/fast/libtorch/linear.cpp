// Functions of libtorch that tch cannot call. Each function returns null, or an error message that the caller must free.
#include "../../cpp.h"

#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_addmm_activation.h>

#include <string>

using at::Tensor;

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

// A ReLU or GELU of `x W^T + b`, with a weight of `[out, in]`: `[rows, in] -> [rows, out]`. On a GPU it is one kernel, whose
// GELU is the approximation by tanh. (tch passes `gelu` as the factor of the bias by mistake.)
char *hubbleflow_linear_activation(const Tensor *x, const Tensor *weight, const Tensor *bias, bool gelu, Tensor **y) {
    return error_of([&] { *y = new Tensor(at::_addmm_activation(*bias, *x, weight->t(), 1, 1, gelu)); });
}
}

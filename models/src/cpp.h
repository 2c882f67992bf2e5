// How the C++ of this crate gives errors back: see cpp.rs.
#pragma once

#include <cstring>
#include <exception>

// Null, or what went wrong, to be freed by the caller: an exception never leaves.
template <class Body> char *error_of(Body body) noexcept {
    try {
        body();
        return nullptr;
    } catch (const std::exception &error) {
        return strdup(error.what());
    } catch (...) {
        return strdup("an exception that is none of the standard library's");
    }
}

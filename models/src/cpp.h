// How the C++ of this crate returns errors; cpp.rs reads them.
#pragma once

#include <cstring>
#include <exception>

// Runs `body` and returns null, or an error message that the caller must free. Exceptions do not leave this function.
template <class Body> char *error_of(Body body) noexcept {
    try {
        body();
        return nullptr;
    } catch (const std::exception &error) {
        return strdup(error.what());
    } catch (...) {
        return strdup("an exception that is not of the standard library");
    }
}

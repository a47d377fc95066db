// The only place that includes Node-API. NAPI_VERSION and the C++-exceptions switch come from binding.gyp; without them
// two files could be compiled against different interfaces.
#pragma once
#if !defined(NAPI_VERSION) || NAPI_VERSION < 8
#error "NAPI_VERSION >= 8 (type tags) must be set for the whole addon: build with binding.gyp"
#endif
#ifndef NODE_ADDON_API_CPP_EXCEPTIONS
#error "the binding reports errors by C++ exceptions: build with binding.gyp"
#endif
#include <napi.h>

// A function marked so is compiled for several instruction sets; the best is chosen at run time. It does not reach into
// templates or lambdas: mark plain functions of rows.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define DRM_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DRM_MULTIVERSION
#endif

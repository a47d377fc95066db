// Which of many images or prompts are the same, so that each is looked at once. No torch header here.
#pragma once
#include <cstddef>
#include <map>
#include <tuple>
#include <vector>

#include "scorers/pillow_resize.h"

namespace drm {

struct Distinct {
  std::vector<size_t> first;  // index of the first item of each kind, in the order in which they come
  std::vector<size_t> of;     // (items) which of those it equals

  template <class T>
  std::vector<T> firsts(const std::vector<T>& items) const {
    std::vector<T> all;
    for (const auto i : first) all.push_back(items[i]);
    return all;
  }
};

struct Before {
  template <class T>
  bool operator()(const T* a, const T* b) const {
    return *a < *b;
  }
  bool operator()(const Bitmap* a, const Bitmap* b) const {
    const auto key = [](const Bitmap& i) { return std::tie(i.height, i.width, i.channels, i.pixels); };
    return key(*a) < key(*b);
  }
};

template <class T>
Distinct distinct(const std::vector<T>& items) {
  Distinct d;
  std::map<const T*, size_t, Before> seen;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto [at, is_new] = seen.emplace(&items[i], d.first.size());
    if (is_new) d.first.push_back(i);
    d.of.push_back(at->second);
  }
  return d;
}

}  // namespace drm

// Figures of a training step, as plain data.
#pragma once
#include <string>
#include <vector>

namespace drm {

struct MetricValue {
  std::string name;
  double value = 0;
  double weight = 0;  // of how many samples it is the mean
};
/// Those of which at least one sample had something to say.
using Metrics = std::vector<MetricValue>;

}  // namespace drm

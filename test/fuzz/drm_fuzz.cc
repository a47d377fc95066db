// Fuzzes what reads strangers' weights, adapters and configs: no input may crash, hang, take more than a GiB of memory,
// or end in anything but a Failure that blames the file.
//   drm_fuzz [--executions N] [--from I] [--seed S] [--target NAME]
// Inputs go round the targets; input I of seed S is always the same, and is named when something goes wrong.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/failure.h"
#include "mutate.h"
#include "tensor_io/json.h"
#include "lora/lora_file.h"
#include "lora/peft_config.h"
#include "tensor_io/pickle_file.h"
#include "tensor_io/weights.h"
#include "models/registry.h"
#include "text/text_keys.h"
#include "vae/vae_keys.h"

using namespace drm;
using fuzz::Dice;

namespace {

constexpr double kLongestInput = 5;      // CPU seconds
constexpr int64_t kMostMemory = 1 << 20;  // KiB

using Seeds = std::vector<std::string>;

Seeds read_seeds(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(DRM_FUZZ_SEEDS) + "/" + folder))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());  // inputs are drawn by number
  Seeds seeds;
  for (const auto& file : files) {
    std::ostringstream s;
    s << std::ifstream(file, std::ios::binary).rdbuf();
    seeds.push_back(s.str());
  }
  if (seeds.empty()) throw std::runtime_error("no seeds in " + folder);
  return seeds;
}

void fuzz_safetensors(const Seeds& seeds, Dice& dice) {
  const auto bytes = fuzz::mutate_safetensors(dice.of(seeds), seeds, dice);
  const auto file = SafetensorsFile::read(bytes, "input");
  for (const auto& [name, info] : file->tensors())
    if (info.dtype != at::ScalarType::Undefined && file->load(name).nbytes() != info.bytes())
      throw std::runtime_error(name + " was loaded in another size");
}

void fuzz_json(const Seeds& seeds, Dice& dice) {
  const auto config = Json::parse(fuzz::mutate_text(dice.of(seeds), seeds, dice), "input");
  PeftConfig(config, "input").alpha_of("transformer_blocks.0.attn.to_q");
}

void fuzz_lora(const Seeds& seeds, Dice& dice) {
  static const auto configs = read_seeds("json");
  const auto bytes = fuzz::mutate_safetensors(dice.of(seeds), seeds, dice);
  const auto file = SafetensorsFile::read(bytes, "input");
  std::optional<Json> beside;
  if (dice.one_in(4)) beside = Json::parse(fuzz::mutate_text(configs.front(), configs, dice), "beside");
  const auto lora = read_lora(*file, beside ? &*beside : nullptr, "beside");
  for (const auto& [layer, e] : lora.layers) adapter_of(e, 1, at::kCPU);
  match_lora({}, lora);
}

void fuzz_weights(const Seeds& seeds, Dice& dice) {
  const auto bytes = fuzz::mutate_safetensors(dice.of(seeds), seeds, dice);
  const auto file = SafetensorsFile::read(bytes, "input");
  const auto reader = dice.below(4);
  const std::string which = dice.one_in(2) ? "clip_l" : "";
  const KeyReader readers[] = {velocity_keys, vae_keys, clip_keys(which), t5_keys(which)};
  const auto weights = Weights::open(file, readers[reader]);
  std::vector<at::Tensor> tensors(weights.entries().size());
  std::vector<WantedTensor> wanted;
  for (const auto& [key, entry] : weights.entries())
    wanted.push_back({key, entry.info.shape, &tensors[wanted.size()]});
  weights.fill(wanted, dice.one_in(2) ? at::kFloat : at::kBFloat16, at::kCPU);
  for (size_t i = 0; i < wanted.size(); ++i)
    if (tensors[i].sizes() != at::IntArrayRef(wanted[i].shape))
      throw std::runtime_error(wanted[i].key + " was loaded in another shape");
}

void fuzz_pickle(const Seeds& seeds, Dice& dice) {
  const auto bytes = fuzz::mutate_pickle(dice.of(seeds), seeds, dice);
  const auto file = PickleFile::read(bytes, "input");
  for (const auto& [name, info] : file->tensors()) {
    if (info.dtype == at::ScalarType::Undefined) continue;
    const auto loaded = file->load(name), viewed = file->view(name).contiguous();
    if (loaded.sizes() != at::IntArrayRef(info.shape) || loaded.nbytes() > bytes.size())
      throw std::runtime_error(name + " was loaded in another size");
    if (loaded.numel() > 0 && std::memcmp(loaded.const_data_ptr(), viewed.const_data_ptr(), loaded.nbytes()) != 0)
      throw std::runtime_error(name + " was loaded with other numbers than it is viewed with");
  }
}

struct Target {
  const char* name;
  void (*run)(const Seeds&, Dice&);
  Seeds seeds = {};
  int64_t executions = 0, accepted = 0;
  double seconds = 0;
};

struct Options {
  int64_t executions = 60'000, from = 0;
  uint64_t seed = 7;
  std::string target;
};

Options options;
std::atomic<int64_t> current{-1};
std::atomic<const char*> current_target{""};

/// Says which input it was, also from a signal's handler.
void blame(const char* what) {
  char line[256];
  const auto n = std::snprintf(line, sizeof line, "FAIL %s: drm_fuzz --target %s --seed %llu --from %lld --executions 1\n",
                               what, current_target.load(), static_cast<unsigned long long>(options.seed),
                               static_cast<long long>(current.load()));
  if (::write(STDERR_FILENO, line, static_cast<size_t>(n)) < 0) ::_exit(3);
}

extern "C" void crashed(int signal) {
  blame("crashed");
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

int64_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/// Ends the process when an input takes too long or too much.
void watch() {
  int64_t seen = -1;
  double since = 0;
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const auto now = cpu_seconds();
    if (const auto input = current.load(); input != seen) {
      seen = input;
      since = now;
    }
    const char* what = now - since > kLongestInput      ? "took too long"
                       : peak_memory() > kMostMemory    ? "took more than a GiB"
                                                        : nullptr;
    if (!what) continue;
    blame(what);
    ::_exit(1);
  }
}

/// Whether the input was taken, and is no fault of ours if not.
bool is_accepted(Target& target, int64_t input) {
  Dice dice(options.seed, static_cast<uint64_t>(input));
  try {
    target.run(target.seeds, dice);
    return true;
  } catch (const Failure& f) {
    if (f.code == Code::BadFile) return false;
    throw;
  }
}

Options parse_options(int argc, char** argv) {
  Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--target")
      o.target = value;
    else if (name == "--executions")
      o.executions = std::stoll(value);
    else if (name == "--from")
      o.from = std::stoll(value);
    else if (name == "--seed")
      o.seed = std::stoull(value);
    else
      throw std::runtime_error("expected --executions, --from, --seed or --target, found " + name);
  }
  return o;
}

int run(int argc, char** argv) {
  options = parse_options(argc, argv);
  std::vector<Target> targets = {{"safetensors", fuzz_safetensors},
                                 {"json", fuzz_json},
                                 {"lora", fuzz_lora},
                                 {"weights", fuzz_weights},
                                 {"pickle", fuzz_pickle}};
  if (!options.target.empty()) std::erase_if(targets, [](const Target& t) { return options.target != t.name; });
  if (targets.empty()) throw std::runtime_error("expected --target safetensors, json, lora, weights or pickle");
  for (auto& target : targets) target.seeds = read_seeds(target.name);
  at::set_num_threads(1);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) std::signal(signal, crashed);
  std::thread(watch).detach();
  int failed = 0;
  for (int64_t i = 0; i < options.executions && failed < 20; ++i) {
    auto& target = targets[static_cast<size_t>(i) % targets.size()];
    current_target = target.name;
    current = options.from + i / static_cast<int64_t>(targets.size());
    const auto start = cpu_seconds();
    try {
      target.accepted += is_accepted(target, current);
    } catch (const std::exception& e) {
      blame(std::string(e.what()).substr(0, 100).c_str());
      ++failed;
    }
    ++target.executions;
    target.seconds += cpu_seconds() - start;
  }
  for (const auto& t : targets)
    std::printf("%-12s %lld executions, %.0f %% accepted, %.0f a CPU second\n", t.name, static_cast<long long>(t.executions),
                100.0 * static_cast<double>(t.accepted) / static_cast<double>(std::max<int64_t>(1, t.executions)),
                static_cast<double>(t.executions) / std::max(t.seconds, 1e-9));
  std::printf("peak memory  %lld MiB\n", static_cast<long long>(peak_memory() / 1024));
  std::printf("%zu passed, %d failed\n", failed ? size_t{0} : targets.size(), failed);
  std::fflush(stdout);
  ::_exit(failed ? 1 : 0);  // the watching thread still runs
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "drm_fuzz: %s\n", e.what());
    return 2;
  }
}

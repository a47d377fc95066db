#include "nn/recompute.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/autocast.h"

namespace drm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct State final : torch::CustomClassHolder {
  std::function<Tensors(const Tensors&)> part;
  Autocast::State autocast;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static variable_list forward(AutogradContext* context, const c10::intrusive_ptr<State>& state,
                               at::TensorList inputs) {
    context->saved_data["state"] = c10::IValue::make_capsule(state);
    context->save_for_backward(inputs.vec());
    const at::NoGradGuard no_grad;
    return state->part(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto capsule = context->saved_data["state"].toCapsule();
    const auto& state = *static_cast<State*>(capsule.get());
    variable_list inputs;
    for (const auto& saved : context->get_saved_variables()) {
      auto leaf = saved.detach();
      leaf.requires_grad_(saved.requires_grad());
      inputs.push_back(std::move(leaf));
    }
    variable_list outputs;
    {
      const at::AutoGradMode grad(true);
      const Autocast autocast(state.autocast);
      outputs = state.part(inputs);
    }
    variable_list roots, root_gradients;
    for (size_t i = 0; i < outputs.size(); ++i)
      if (outputs[i].requires_grad() && gradients[i].defined()) {
        roots.push_back(outputs[i]);
        root_gradients.push_back(gradients[i]);
      }
    if (!roots.empty()) torch::autograd::backward(roots, root_gradients);
    variable_list result{at::Tensor()};  // nothing for `state`
    for (const auto& input : inputs) result.push_back(input.grad());
    return result;
  }
};

}  // namespace

Tensors recomputed(std::function<Tensors(const Tensors&)> part, const Tensors& inputs) {
  if (!at::GradMode::is_enabled()) return part(inputs);
  auto state = c10::make_intrusive<State>();
  state->part = std::move(part);
  state->autocast = Autocast::current(inputs.at(0).device().type());
  // Autograd records a part only when an input asks for gradients; the first part's inputs may be data alone while its
  // parameters are what is trained.
  auto taped = inputs;
  bool any = false;
  for (const auto& t : taped) any = any || t.requires_grad();
  if (!any) {
    taped[0] = taped[0].detach();
    taped[0].requires_grad_(true);
  }
  return Recompute::apply(state, at::TensorList(taped));
}

}  // namespace drm

#include "tensor_io/pickle.h"

#include "common/failure.h"
#include "tensor_io/pickle_calls.h"
#include "tensor_io/pickle_names.h"
#include "tensor_io/pickle_stack.h"

namespace drm {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kLongestName = 1000;  // of a module or class

/// The name of an opcode that a pickle of plain tensors never has, or nullptr where there is no such opcode.
const char* refused_opcode(unsigned char opcode) {
  switch (opcode) {
    case 'I':
      return "INT of protocol 0";
    case 'L':
      return "LONG of protocol 0";
    case 'F':
      return "FLOAT of protocol 0";
    case 'S':
      return "STRING of protocol 0";
    case 'V':
      return "UNICODE of protocol 0";
    case 'g':
      return "GET of protocol 0";
    case 'p':
      return "PUT of protocol 0";
    case 'P':
      return "PERSID of protocol 0";
    case 'i':
      return "INST, which makes objects";
    case 'o':
      return "OBJ, which makes objects";
    case 0x82:
    case 0x83:
    case 0x84:
      return "EXT, which imports";
    case 0x92:
      return "NEWOBJ_EX, which makes objects";
    case 0x97:
    case 0x98:
      return "NEXT_BUFFER, whose bytes are elsewhere";
    default:
      return nullptr;
  }
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& path) : bytes_(bytes), stack_(path) {}

  Pickle read() {
    const auto first = byte();
    stack_.expect(first == 0x80, "a pickle of protocol 2 to 5", "byte " + std::to_string(first));
    const auto protocol = byte();
    stack_.expect(protocol >= 2 && protocol <= 5, "a pickle of protocol 2 to 5", std::to_string(protocol));
    for (;;) {
      stack_.count_steps(1);
      stack_.move_to(at_);
      const auto opcode = byte();
      if (opcode == '.') return stack_.finish(at_);
      step(opcode);
    }
  }

 private:
  std::string_view take(uint64_t n) {
    const auto left = bytes_.size() - at_;
    if (n > left) stack_.damaged(std::to_string(n) + " more bytes", std::to_string(left));
    const auto taken = bytes_.substr(at_, n);
    at_ += n;
    return taken;
  }
  unsigned char byte() { return static_cast<unsigned char>(take(1)[0]); }
  uint64_t number(size_t width) {
    const auto taken = take(width);
    uint64_t n = 0;
    for (size_t i = width; i-- > 0;) n = n << 8 | static_cast<unsigned char>(taken[i]);
    return n;
  }
  std::string_view line() {
    const auto rest = bytes_.substr(at_, kLongestName);
    const auto end = rest.find('\n');
    if (end == std::string_view::npos)
      stack_.damaged("a name and the end of its line", std::to_string(rest.size()) + " bytes without");
    at_ += end + 1;
    return rest.substr(0, end);
  }

  void push_text(uint64_t length) { stack_.push({Kind::Text, 0, take(length)}); }
  void push_bytes(uint64_t length) { stack_.push({Kind::Bytes, 0, take(length)}); }
  void push_integer(uint64_t width) {
    const auto text = take(width);
    if (width > 8) return stack_.push({Kind::LongInt, 0, text});
    uint64_t n = !text.empty() && (text.back() & 0x80) ? ~uint64_t{0} : 0;  // two's complement
    for (auto i = text.size(); i-- > 0;) n = n << 8 | static_cast<unsigned char>(text[i]);
    stack_.push({Kind::Int, static_cast<int64_t>(n)});
  }

  void append(const PickleStack::Items& items) {
    auto& list = stack_[stack_.top()];
    stack_.expect(list.kind == Kind::List, "a list to append to", pickle_kind_name(list.kind));
    list.items.insert(list.items.end(), items.begin(), items.end());
  }
  void set_items(const PickleStack::Items& pairs) {
    auto& dict = stack_[stack_.top()];
    stack_.expect(pairs.size() % 2 == 0, "keys with values", "a key without");
    if (dict.kind == Kind::Other) return;  // a Counter
    stack_.expect(dict.kind == Kind::Dict, "a dict to set items of", pickle_kind_name(dict.kind));
    dict.items.insert(dict.items.end(), pairs.begin(), pairs.end());
  }

  void global(std::string_view module, std::string_view name) {
    stack_.push(known_global(module, name, stack_.path()));
  }
  void stack_global() {
    const auto names = stack_.pop(2);
    for (const auto name : names) stack_.expect(stack_.is(name, Kind::Text), "a name", stack_.kind_of(name));
    global(stack_[names[0]].text, stack_[names[1]].text);
  }

  void step(unsigned char opcode) {
    switch (opcode) {
      case 'N':
        return stack_.push({Kind::None});
      case 0x88:
        return stack_.push({Kind::Bool, 1});
      case 0x89:
        return stack_.push({Kind::Bool, 0});
      case 'K':
        return stack_.push({Kind::Int, byte()});
      case 'M':
        return stack_.push({Kind::Int, static_cast<int64_t>(number(2))});
      case 'J':
        return push_integer(4);
      case 0x8a:
        return push_integer(byte());
      case 0x8b:
        return push_integer(number(4));
      case 'G':
        take(8);  // whose value nobody asks for
        return stack_.push({Kind::Float});
      case 'U':  // a str of Python 2, as names were once
      case 0x8c:
        return push_text(byte());
      case 'T':
      case 'X':
        return push_text(number(4));
      case 0x8d:
        return push_text(number(8));
      case 'C':
        return push_bytes(byte());
      case 'B':
        return push_bytes(number(4));
      case 0x8e:
      case 0x96:
        return push_bytes(number(8));

      case ']':
        return stack_.push({Kind::List});
      case ')':
        return stack_.push({Kind::Tuple});
      case '}':
        return stack_.push({Kind::Dict});
      case 0x8f:  // a set
        return stack_.push({Kind::Other});
      case '(':
        return stack_.mark();
      case 'l':
        return stack_.push({Kind::List, 0, {}, stack_.pop_to_mark()});
      case 't':
        return stack_.push({Kind::Tuple, 0, {}, stack_.pop_to_mark()});
      case 0x85:
      case 0x86:
      case 0x87:
        return stack_.push({Kind::Tuple, 0, {}, stack_.pop(opcode - 0x84u)});
      case 'd': {
        const auto pairs = stack_.pop_to_mark();
        stack_.push({Kind::Dict});
        return set_items(pairs);
      }
      case 0x91:  // a frozen set
        stack_.pop_to_mark();
        return stack_.push({Kind::Other});
      case 0x90:
        stack_.pop_to_mark();
        return stack_.expect(stack_.is(stack_.top(), Kind::Other), "a set", stack_.kind_of(stack_.top()));
      case 'a':
        return append(stack_.pop(1));
      case 'e':
        return append(stack_.pop_to_mark());
      case 's':
        return set_items(stack_.pop(2));
      case 'u':
        return set_items(stack_.pop_to_mark());

      case '0':
        stack_.pop();
        return;
      case '1':
        stack_.pop_to_mark();
        return;
      case '2':
        return stack_.push(stack_.top());
      case 'h':
        return stack_.recall(byte());
      case 'j':
        return stack_.recall(static_cast<uint32_t>(number(4)));
      case 'q':
        return stack_.remember(byte());
      case 'r':
        return stack_.remember(static_cast<uint32_t>(number(4)));
      case 0x94:
        return stack_.remember(static_cast<uint32_t>(stack_.remembered()));
      case 0x95:  // a frame, whose opcodes follow as those without
        return stack_.expect(number(8) <= bytes_.size() - at_, "a frame inside the pickle", "one that reaches out");

      case 'c': {
        const auto module = line(), name = line();
        return global(module, name);
      }
      case 0x93:
        return stack_global();
      case 'R':
      case 0x81: {
        const auto called = stack_.pop(2);
        return call_pickled(stack_, called[0], called[1]);
      }
      case 'b': {
        const auto state = stack_.pop();
        return set_pickled_state(stack_, stack_.top(), state);
      }
      case 'Q':
        return push_storage(stack_, stack_.pop());
      default:
        break;
    }
    const auto* refused = refused_opcode(opcode);
    stack_.expect(refused, "an opcode", "byte " + std::to_string(opcode));
    refuse_pickle(stack_.path(), std::string("the opcode ") + refused);
  }

  std::string_view bytes_;
  size_t at_ = 0;
  PickleStack stack_;
};

}  // namespace

const char* pickle_kind_name(Kind kind) {
  constexpr const char* names[] = {"None",      "True or False", "an integer", "a large integer", "a number", "a text",
                                   "bytes",     "a list",        "a tuple",    "a dict",          "a dtype",  "a class",
                                   "a storage", "a tensor",      "a function", "an object"};
  return names[static_cast<size_t>(kind)];
}

const PickleValue* Pickle::find(const PickleValue& dict, std::string_view key) const {
  for (auto i = dict.items.size(); i >= 2; i -= 2) {
    const auto& name = values[dict.items[i - 2]];
    if (name.kind == Kind::Text && name.text == key) return &values[dict.items[i - 1]];
  }
  return nullptr;
}

Pickle read_pickle(std::string_view bytes, const std::string& path) { return Reader(bytes, path).read(); }

}  // namespace drm

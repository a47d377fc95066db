#include "common/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "common/descriptor.h"
#include "common/failure.h"

namespace drm {
namespace {

struct Reason {
  Code code;
  const char* remedy;
};

Reason reason_of(int error) {
  switch (error) {
    case EMFILE:
    case ENFILE:
      return {Code::Environment, "this process may open no more files: raise the limit (ulimit -n)"};
    case ENOMEM:
    case EAGAIN:
      return {Code::OutOfMemory, "there is no room to map it into memory: raise the limit (ulimit -v) or free memory"};
    case EIO:
    case ESTALE:
    case ENXIO:
      return {Code::Disk, "the disk or the file system failed"};
    case EACCES:
    case EPERM:
      return {Code::BadFile, "allow this user to read it"};
    default:
      return {Code::BadFile, "check the path"};
  }
}

[[noreturn]] void fail(const std::string& path, const char* where, const char* what, int error) {
  const auto [code, remedy] = reason_of(error);
  throw Failure(code,
                std::string("[") + where + "] " + path + ": expected " + what + ", found: " + std::strerror(error) +
                    "; " + remedy,
                {{"file", path}, {"reason", std::strerror(error)}});
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path, const char* where, const char* what) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a pipe must not keep us waiting
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0) fail(path, where, what, errno);
  if (!S_ISREG(status.st_mode))
    throw Failure(Code::BadFile,
                  std::string("[") + where + "] " + path + ": expected " + what + ", found a folder or device",
                  {{"file", path}});
  auto opened = std::shared_ptr<MappedFile>(new MappedFile);
  if (status.st_size == 0) return opened;  // which cannot be mapped
  auto* mapping = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (mapping == MAP_FAILED) fail(path, where, what, errno);
  opened->mapping_ = mapping;
  opened->size_ = static_cast<size_t>(status.st_size);
  return opened;
}

MappedFile::~MappedFile() {
  if (mapping_) ::munmap(mapping_, size_);
}

void MappedFile::release(const void* from, size_t bytes) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(from);
  const auto first = (begin + page - 1) / page * page, last = (begin + bytes) / page * page;
  if (last > first) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace drm

// Temporary files for transactions that no longer fit in memory and that some client still needs.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/body.hpp"

namespace plank::core {

// One file without a name, so that nothing is left behind however the process ends. Written once, then read through a
// mapping: its pages belong to the kernel's cache, not to the worker.
class SpillFile {
 public:
	// Null when the file could not be made or written; `error` says why.
	static std::shared_ptr<const SpillFile> write(const std::string& directory, const Body& body, std::string& error);
	~SpillFile();
	SpillFile(const SpillFile&) = delete;
	SpillFile& operator=(const SpillFile&) = delete;

	std::string_view bytes() const noexcept { return {static_cast<const char*>(mapping_), size_}; }

 private:
	SpillFile(void* mapping, size_t size) noexcept : mapping_(mapping), size_(size) {}
	void* mapping_;
	size_t size_;
};

}  // namespace plank::core

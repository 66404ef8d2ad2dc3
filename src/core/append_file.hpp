// A temporary file that grows at its end and is read through a mapping once it is whole. Runs in the worker. Must not call
// PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace plank::core {

// Has no name, so that nothing is left behind however the process ends.
class AppendFile {
 public:
	// Null when it could not be made; `error` says why.
	static std::unique_ptr<AppendFile> create(const std::string& directory, std::string& error);
	~AppendFile();
	AppendFile(const AppendFile&) = delete;
	AppendFile& operator=(const AppendFile&) = delete;

	// False when there is no room; the file is then good for nothing but what was mapped before.
	[[nodiscard]] bool append(std::string_view bytes, std::string& error);
	uint64_t size() const noexcept { return size_; }

	// What a mapping shows stays on disk as long as the mapping lives.
	class Mapping {
	 public:
		Mapping(void* start, size_t size) noexcept : start_(start), size_(size) {}
		~Mapping();
		Mapping(const Mapping&) = delete;
		Mapping& operator=(const Mapping&) = delete;
		std::string_view bytes() const noexcept { return {static_cast<const char*>(start_), size_}; }

	 private:
		void* start_;
		size_t size_;
	};
	// Everything that was appended so far; null when that fails. An empty file maps to no bytes.
	std::shared_ptr<const Mapping> map(std::string& error) const;

 private:
	explicit AppendFile(int file, const std::string& directory) : file_(file), directory_(directory) {}
	int file_;
	std::string directory_;
	uint64_t size_ = 0;
};

}  // namespace plank::core

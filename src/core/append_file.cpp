// Growing and mapping a nameless file. Runs in the worker. Must not call PostgreSQL.
#include "core/append_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace plank::core {

namespace {

std::string failure(const std::string& what, const std::string& directory)
{
	return "could not " + what + " a temporary file in \"" + directory + "\": " + std::strerror(errno);
}

}  // namespace

std::unique_ptr<AppendFile> AppendFile::create(const std::string& directory, std::string& error)
{
	int file = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	// Not every file system has O_TMPFILE.
	if (file < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		std::string name = directory + "/plank.XXXXXX";
		file = mkostemp(name.data(), O_CLOEXEC);
		if (file >= 0) unlink(name.c_str());
	}
	if (file < 0) {
		error = failure("create", directory);
		return nullptr;
	}
	return std::unique_ptr<AppendFile>(new AppendFile(file, directory));
}

AppendFile::~AppendFile() { close(file_); }

// Blocks are allocated by writing, never by a hole: reading a mapping of a file that has no room left would be SIGBUS.
bool AppendFile::append(std::string_view bytes, std::string& error)
{
	while (!bytes.empty()) {
		const ssize_t written = ::write(file_, bytes.data(), bytes.size());
		if (written < 0 && errno == EINTR) continue;
		if (written <= 0) {
			error = failure("write", directory_);
			return false;
		}
		size_ += static_cast<uint64_t>(written);
		bytes.remove_prefix(static_cast<size_t>(written));
	}
	return true;
}

std::shared_ptr<const AppendFile::Mapping> AppendFile::map(std::string& error) const
{
	if (size_ == 0) return std::make_shared<const Mapping>(nullptr, 0);
	void* const start = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file_, 0);
	if (start == MAP_FAILED) {
		error = failure("map", directory_);
		return nullptr;
	}
	return std::make_shared<const Mapping>(start, size_);
}

AppendFile::Mapping::~Mapping()
{
	if (start_) munmap(start_, size_);
}

}  // namespace plank::core

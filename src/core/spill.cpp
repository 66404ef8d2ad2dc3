// Nameless temporary files. Runs in the worker. Must not call PostgreSQL.
#include "core/spill.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace plank::core {

namespace {

// O_TMPFILE where the file system has it, else a file that is unlinked at once.
int open_nameless(const std::string& directory)
{
	const int file = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return file;
	std::string name = directory + "/plank.XXXXXX";
	const int named = mkostemp(name.data(), O_CLOEXEC);
	if (named >= 0) unlink(name.c_str());
	return named;
}

bool write_all(int file, std::string_view bytes)
{
	while (!bytes.empty()) {
		const ssize_t written = ::write(file, bytes.data(), bytes.size());
		if (written < 0 && errno == EINTR) continue;
		if (written <= 0) return false;
		bytes.remove_prefix(static_cast<size_t>(written));
	}
	return true;
}

}  // namespace

std::shared_ptr<const SpillFile> SpillFile::write(const std::string& directory, const Body& body, std::string& error)
{
	const int file = open_nameless(directory);
	// Blocks are allocated by writing, never by a hole: reading a mapping of a file that has no room left would be SIGBUS.
	bool written = file >= 0;
	for (const Body::Piece& piece : body.pieces())
		written = written && write_all(file, piece.bytes);
	if (!written) {
		error = std::string("could not write a temporary file in \"") + directory + "\": " + std::strerror(errno);
		if (file >= 0) close(file);
		return nullptr;
	}
	void* mapping = mmap(nullptr, body.size(), PROT_READ, MAP_SHARED, file, 0);
	const int failure = errno;
	close(file);
	if (mapping == MAP_FAILED) {
		error = std::string("could not map a temporary file: ") + std::strerror(failure);
		return nullptr;
	}
	return std::shared_ptr<const SpillFile>(new SpillFile(mapping, body.size()));
}

SpillFile::~SpillFile() { munmap(mapping_, size_); }

}  // namespace plank::core

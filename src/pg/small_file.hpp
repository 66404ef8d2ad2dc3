// Small files that an administrator keeps beside the server: read whole, and looked at for changes. Runs in the worker and
// in sessions. Paths are relative to the data directory.
#pragma once

#include <cstdint>
#include <string>

namespace plank::pg {

// Tells whether a file is another one, or was written to, since it was looked at.
struct FileStamp {
	uint64_t device = 0, inode = 0, size = 0;
	int64_t modified = 0, changed = 0;  // nanoseconds
	bool exists = false;
	bool operator==(const FileStamp&) const = default;
	// Whether a write after this look would show: times are counted in ticks of some milliseconds.
	bool settled() const noexcept;
};
FileStamp stamp_of(const std::string& path) noexcept;

// The file's content, or why it cannot be read; never more than `limit` bytes, and nothing but a regular file.
struct SmallFile {
	std::string content;
	std::string error;            // empty: it was read
	bool open_to_others = false;  // everybody on the machine may read it
};
SmallFile read_small_file(const std::string& path, size_t limit);

}  // namespace plank::pg
